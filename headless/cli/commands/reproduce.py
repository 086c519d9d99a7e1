"""`batch-sdxl reproduce`: an image made again, with changes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import InvalidRequest
from ....core.wording import brief
from ....host import host
from . import shared

if TYPE_CHECKING:
    from ..parser import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "reproduce",
        help="make an image again from what its file says, with changes",
        description="Make an image again from what its file says, with changes to its request.",
        epilog="batch-sdxl reproduce shapes_00003_seed7.png --set steps=30 "
        '--set "prompt=a red circle, small"',
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    shared.add_set(
        parser,
        "NAME=VALUE",
        "a setting in place of the one in the file, such as prompt, seed, steps or cfg; may be "
        "given more than once",
    )
    shared.add_sources(parser)
    shared.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the image."""
    from ....core.replay import Replay
    from ....core.request.fields import from_texts
    from ....core.request.image_request import ImageRequest
    from ....core.saving.image_file import png_texts
    from ....core.saving.room import check_folder
    from ....core.saving.writer import save_png

    check_folder(args.output.absolute())
    texts: dict[str, str] = {}
    for name, value in map(_pair, args.set):
        if name in texts:
            raise InvalidRequest(
                f"one value of {name}",
                f"{brief(texts[name])} and {brief(value)}",
                "Leave one of them out.",
            )
        texts[name] = value
    sampler = {"sampler_name": texts.pop("sampler_name")} if "sampler_name" in texts else {}
    changes = from_texts(ImageRequest, texts) | sampler
    again = Replay(args.model, args.images, host.current()).reproduce(args.file, changes)
    record = again.image.record
    stem = f"reproduced_*_seed{record.request.seed}"
    file = save_png(args.output.absolute(), stem, again.image.pixels, png_texts(record, {}))
    for part in again.elsewhere:
        sys.stderr.write(f"not as it was: {part}\n")
    row = {"file": str(file), "row": record.to_plain()}
    sys.stdout.write((json.dumps(row, ensure_ascii=False) if args.json else str(file)) + "\n")
    return 0


def _pair(text: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`."""
    name, found, value = text.partition("=")
    if not found:
        raise InvalidRequest("NAME=VALUE after --set", repr(text), "Write for example steps=30.")
    return name.strip(), value
