"""`batch-sdxl convert`: a workflow of ComfyUI's own nodes, with ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..parser import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "convert",
        help="write a workflow of ComfyUI's own nodes with Batch SDXL's",
        description="Write a workflow of ComfyUI's own nodes with Batch SDXL's, and say what "
        "changed. Nothing is run or loaded.",
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write it (default: NAME_batch_sdxl.json in the working directory)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the workflow."""
    from ..conversion import write

    return write(args.workflow, args.output)
