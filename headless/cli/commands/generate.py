"""`batch-sdxl generate`: images without a workflow file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import InvalidPrompts
from ..options import DEFAULTS, OPTIONS
from . import shared

if TYPE_CHECKING:
    from ..parser import Commands


_EXAMPLES = """examples:
  batch-sdxl generate --prompts "a red circle" --seeds 0..7 --file-name "batch_image_{i}"
  batch-sdxl generate --prompts prompts.txt --seeds 1..4 --combine product
  batch-sdxl generate --prompts "a watercolour" --seeds 7 --lora style.safetensors:0.8
  batch-sdxl generate --prompts "a watercolour" --seeds 7 --images photos --fit bucket
"""


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "generate",
        help="make images without a workflow file",
        description="Make images of prompts and seeds. What is not given is as in a fresh node,\n"
        "but for an empty negative prompt: it is as in diffusers.",
        epilog=_EXAMPLES,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE_OR_TEXT",
        several="Give several prompts a line each, in one text or in a file.",
        help="what Prompt List takes: a file (txt, csv, tsv, xlsx, json, jsonl, yaml), a folder of "
        "pictures or texts, or text, one prompt a line (default: what --images says of each)",
    )
    parser.add_argument(
        "--seeds",
        metavar="EXPR",
        several='Give all seeds in one, for example: --seeds "1, 5, 9"',
        help='like 7 or "1, 5, 9" or "random(8, from=7)" (default: those of the prompts\' rows)',
    )
    parser.add_argument(
        "--on-error",
        metavar="HOW",
        help="stop at a picture that does not say its prompt, or an image that comes out as NaN, "
        "or skip it (default: stop)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="folders or files to start from",
    )
    parser.add_argument(
        "--lora",
        action="append",
        metavar="FILE[:STRENGTH]",
        help="a LoRA, with its strength (default: 1); may be given more than once",
    )
    for name, (metavar, text) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        default = DEFAULTS.get(name)
        text += f" (default: {default})" if default else ""
        parser.add_argument(option, metavar=metavar, help=text.replace("%", "%%"))
    parser.add_argument(
        "--page", action="store_const", const="true", help="write index.html beside the images"
    )
    parser.add_argument(
        "--compile",
        action="store_const",
        const="true",
        help="have torch compile the UNet: minutes once for each size of images and length of "
        "prompts, then faster; other bits than without",
    )
    shared.add_allow(parser)
    shared.add_keeping(parser)
    shared.add_ray(parser)
    shared.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the images."""
    from .. import photos, prompt_source, recipe

    options = {name: value for name, value in vars(args).items() if name in recipe.TARGETS}
    loras = [_lora(text) for text in getattr(args, "lora", [])]
    images = [Path(text).resolve() for text in options.get("images", [])]
    given = options.pop("prompts", str(images[0]) if len(images) == 1 else None)
    if given is None:
        raise InvalidPrompts(
            "--prompts, or --images with pictures that say theirs",
            "neither",
            'Write for example: --prompts "a red circle"',
        )
    file = prompt_source.find(given)
    if "seeds" not in options:
        prompt_source.require_seeds(given, file, options.get("on_error", "stop"))
    folders, names = prompt_source.below_roots(*images, *([] if file is None else [file]))
    if images:
        # The node looks below the host's folders only; these a person has named.
        options["images"] = "\n".join(names[: len(images)])
        if not {"width", "height"} & options.keys() and options.get("fit") != "bucket":
            photos.check(images)
    if file is None:
        options["prompts"] = given
    else:
        options["prompt_file"] = names[-1]
    named = {*options.values(), *(name for name, _ in loras)}
    with shared.session_of(args, folders, named, download=True) as session:
        session.tell(prompt_source.said(given, file))
        for line in recipe.unused(options):
            session.tell(line)
        return session.produce(recipe.graph(session.catalog, options, loras))


def _lora(text: str) -> tuple[str, float]:
    """The name and the strength of `FILE[:STRENGTH]`; a drive's colon is none."""
    name, colon, strength = text.rpartition(":")
    try:
        return (name, float(strength)) if colon else (text, 1.0)
    except ValueError:
        return text, 1.0
