"""`batch-sdxl store`: what is kept of finished images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import shared

if TYPE_CHECKING:
    from ..parser import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "store",
        help="show what is kept of finished images, or empty it",
        description="Show what is kept of finished images, so that no run makes them again.",
    )
    parser.add_argument("--clear", action="store_true", help="remove all of them")
    shared.add_json(parser, "print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or empty it."""
    from .. import storing

    return storing.run(args.clear, args.json)
