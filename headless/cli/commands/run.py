"""`batch-sdxl run`: a workflow, without ComfyUI."""

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
        "run",
        help="run a workflow file without ComfyUI",
        description="Run a workflow, as ComfyUI saved or exported it, or a picture that it made. "
        "ComfyUI's own nodes for SDXL are run as Batch SDXL's, and what that changes is said.",
        epilog="A node is named by its id or its title: "
        '--set 3.seeds=1..4 --set "Batch Generate.steps=30"',
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW")
    shared.add_set(
        parser,
        "NODE.INPUT=VALUE",
        "put a value in place of the one in the file; may be given more than once",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch models that the workflow names on the Hugging Face hub",
    )
    shared.add_allow(parser)
    shared.add_keeping(parser)
    shared.add_ray(parser)
    shared.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the workflow."""
    from ...graph import workflow
    from .. import settings

    folders = [args.workflow.resolve().parent]
    named = {text.partition("=")[2] for text in args.set}
    with shared.session_of(args, folders, named, download=args.download) as session:
        graph = workflow.read(args.workflow, session.catalog)
        return session.produce(settings.apply(graph, session.catalog, args.set))
