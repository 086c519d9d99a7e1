"""The options of the command `batch-sdxl`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import DEFAULTS, OPTIONS
from .parser import Parser

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

_GENERATE_EXAMPLES = """examples:
  batch-sdxl generate --prompts "a red circle" --seeds 0..7 --file-name "batch_image_{i}"
  batch-sdxl generate --prompts prompts.txt --seeds 1..4 --combine product
  batch-sdxl generate --prompts "a watercolour" --seeds 7 --lora style.safetensors:0.8
  batch-sdxl generate --prompts "a watercolour" --seeds 7 --images photos --fit bucket
"""

_EXAMPLES = """examples:
  batch-sdxl run portrait.json
  batch-sdxl run portrait.json --set "Seed List.seeds=100..115" --set 5.steps=30
  batch-sdxl generate --prompts "a red circle" --seeds "random(8, from=7)"
  batch-sdxl generate --prompts prompts.csv --seeds 1..4 --combine product --json
  batch-sdxl doctor
"""


def parser() -> argparse.ArgumentParser:
    """What understands them; `command` names what was asked for."""
    from ... import __version__

    made = Parser(
        prog="batch-sdxl",
        description="Many SDXL images in one run, each reproducible on its own.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"batch-sdxl {__version__}")
    commands = made.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    _add_run(commands)
    _add_convert(commands)
    _add_generate(commands)
    _add_verify(commands)
    _add_reproduce(commands)
    _add_store(commands)
    _add_doctor(commands)
    return made


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="run a workflow file without ComfyUI",
        description="Run a workflow, as ComfyUI saved or exported it, or a picture that it made. "
        "ComfyUI's own nodes for SDXL are run as Batch SDXL's, and what that changes is said.",
        epilog="A node is named by its id or its title: "
        '--set 3.seeds=1..4 --set "Batch Generate.steps=30"',
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW")
    _add_set(
        parser,
        "NODE.INPUT=VALUE",
        "put a value in place of the one in the file; may be given more than once",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch models that the workflow names on the Hugging Face hub",
    )
    _add_allow(parser)
    _add_keeping(parser)
    _add_ray(parser)
    _add_output(parser)


def _add_convert(commands: Commands) -> None:
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


def _add_generate(commands: Commands) -> None:
    parser = commands.add_parser(
        "generate",
        help="make images without a workflow file",
        description="Make images of prompts and seeds. What is not given is as in a fresh node,\n"
        "but for an empty negative prompt: it is as in diffusers.",
        epilog=_GENERATE_EXAMPLES,
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
    _add_allow(parser)
    _add_keeping(parser)
    _add_ray(parser)
    _add_output(parser)


def _add_verify(commands: Commands) -> None:
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
    _add_sources(parser)


def _add_reproduce(commands: Commands) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="make an image again from what its file says, with changes",
        description="Make an image again from what its file says, with changes to its request.",
        epilog="batch-sdxl reproduce shapes_00003_seed7.png --set steps=30 "
        '--set "prompt=a red circle, small"',
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_set(
        parser,
        "NAME=VALUE",
        "a setting in place of the one in the file, such as prompt, seed, steps or cfg; may be "
        "given more than once",
    )
    _add_sources(parser)
    _add_output(parser)


def _add_store(commands: Commands) -> None:
    parser = commands.add_parser(
        "store",
        help="show what is kept of finished images, or empty it",
        description="Show what is kept of finished images, so that no run makes them again.",
    )
    parser.add_argument("--clear", action="store_true", help="remove all of them")
    _add_json(parser, "print one JSON object")


def _add_doctor(commands: Commands) -> None:
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
    _add_json(parser, "print the report as one JSON object")


def _add_set(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar=metavar, help=text)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="in place of the model that the file names")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where to look for input images, beside the folder of the file",
    )


def _add_allow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that input files may come from, beside the working directory",
    )


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-store",
        action="store_true",
        default=False,
        help="neither take images from earlier runs nor keep them for later ones",
    )
    parser.add_argument(
        "--anew",
        action="store_true",
        default=False,
        help="write another set beside files that are there already, in place of completing them",
    )
    parser.add_argument(
        "--fit-memory",
        action="store_true",
        default=False,
        help="where memory is too small, go on with tiles of the VAE, then with fewer rows per "
        "call, which may give other bits; the files say so",
    )


def _add_ray(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        default=None,
        metavar="ADDRESS",
        help="have workers of a Ray cluster make the images, of one that is started on this "
        "machine unless an address such as auto or host:6379 is given (pip install "
        '"ray[default]")',
    )
    parser.add_argument(
        "--ray-workers",
        type=_count,
        default=None,
        metavar="N",
        help="how many (default: one a GPU, else one a machine)",
    )
    parser.add_argument(
        "--ray-cpus", type=_count, default=None, metavar="N", help="CPUs of each worker"
    )
    parser.add_argument(
        "--ray-any-numerics",
        action="store_true",
        default=False,
        help="let workers take part whose numerics are not those of the first; files name them",
    )
    parser.add_argument(
        "--ray-send-weights",
        action="store_true",
        default=False,
        help="send the model's files to each node once, in place of reading them there",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="where images are written (default: output)",
    )
    _add_json(parser, "print one JSON object with the files and what each was made from")


def _add_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", default=False, help=text)


def _count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """Width and height of `1024x768`."""
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and int(side) and not int(side) % 8 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"expected multiples of 8 like 1024x768, got {text!r}")
    return int(width), int(height)
