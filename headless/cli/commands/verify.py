"""`batch-sdxl verify`: images made again, and compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import shared

if TYPE_CHECKING:
    from ..parser import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "verify",
        help="make images again from what their files say, and compare",
        description="Make each image again, alone, from what its file says, and compare the "
        "pixels. A file is identical, differs, is not checked (where something is missing, or its "
        "record holds what cannot be), or not ours (it has no record).",
        epilog="The exit code is 0 if all that are ours are identical, 1 if one differs, else 2: "
        "one could not be checked, a file that was named is not ours, or none of a folder is.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE_OR_DIR")
    shared.add_sources(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the files."""
    from .. import verification

    return verification.run(args.files, args.model, args.images)
