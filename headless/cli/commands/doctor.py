"""`batch-sdxl doctor`: what this machine can run."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from . import shared

if TYPE_CHECKING:
    from ..parser import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "doctor",
        help="tell what this machine can run, and how",
        description="Tell what this machine can run, and how. Nothing is loaded or downloaded. "
        "The exit code is 0 if a run is possible.",
    )
    parser.add_argument(
        "--model", metavar="NAME", help='"demo", or the path of an SDXL model (default: SDXL)'
    )
    parser.add_argument(
        "--dtype", choices=("auto", "fp32", "fp16", "bf16"), default="auto", help="precision"
    )
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="of the images (default: the model's own)"
    )
    shared.add_json(parser, "print the report as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell it."""
    from ..diagnosis import to_text
    from ..doctor import examine

    report = examine(args.model, args.dtype, args.size)
    sys.stdout.write(json.dumps(report) + "\n" if args.json else to_text(report))
    return 0 if report["possible"] else 1


def _size(text: str) -> tuple[int, int]:
    """Width and height of `1024x768`."""
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and int(side) and not int(side) % 8 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"expected multiples of 8 like 1024x768, got {text!r}")
    return int(width), int(height)
