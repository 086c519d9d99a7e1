"""The options of the command `batch-sdxl`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

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

    made = argparse.ArgumentParser(
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
    _add_generate(commands)
    _add_verify(commands)
    _add_reproduce(commands)
    _add_doctor(commands)
    return made


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="run a workflow file without ComfyUI",
        description="Run a workflow of Batch SDXL nodes, as ComfyUI saved or exported it.",
        epilog="A node is named by its id or its title: "
        '--set 3.seeds=1..4 --set "Batch Generate.steps=30"',
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    _add_set(
        parser,
        "NODE.INPUT=VALUE",
        "put a value in place of the one in the file; may be given more than once",
    )
    _add_allow(parser)
    _add_output(parser)


def _add_generate(commands: Commands) -> None:
    parser = commands.add_parser(
        "generate",
        help="make images without a workflow file",
        description="Make images of prompts and seeds. What is not given is as in a fresh node.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE_OR_TEXT",
        help="what Prompt List takes: a file (txt, csv, tsv, xlsx, json, jsonl, yaml), a folder of "
        "pictures or texts, or text, one prompt a line (default: what --images says of each)",
    )
    parser.add_argument(
        "--seeds",
        metavar="EXPR",
        help='like 7 or "1, 5, 9" or "random(8, from=7)" (default: those of the prompts\' rows)',
    )
    parser.add_argument(
        "--on-error",
        metavar="HOW",
        help="stop at a picture that does not say its prompt, or skip it (default: stop)",
    )
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what no image should show")
    parser.add_argument("--model", metavar="NAME", help='"demo", or the path of an SDXL model')
    parser.add_argument("--images", metavar="FOLDER", help="images to start from")
    parser.add_argument("--strength", metavar="X", help="share of the steps run from an image")
    parser.add_argument("--steps", metavar="N", help="denoising steps")
    parser.add_argument("--cfg", metavar="X", help="guidance scale")
    parser.add_argument("--width", metavar="PIXELS", help="0 is the model's own")
    parser.add_argument("--height", metavar="PIXELS", help="0 is the model's own")
    parser.add_argument("--sampler-name", metavar="NAME", help="ComfyUI's name of the sampler")
    parser.add_argument("--scheduler", metavar="NAME", help="ComfyUI's name of the spacing")
    parser.add_argument("--combine", metavar="HOW", help="zip, product or cycle")
    _add_allow(parser)
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
        epilog='batch-sdxl reproduce shapes_00003_seed7.png --set "prompt=a red circle, small"',
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_set(
        parser,
        "NAME=VALUE",
        "a setting in place of the one in the file, such as prompt, seed, steps or cfg",
    )
    _add_sources(parser)
    _add_output(parser)


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


def _size(text: str) -> tuple[int, int]:
    """Width and height of `1024x768`."""
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and int(side) and not int(side) % 8 for side in (width, height)):
        raise argparse.ArgumentTypeError(f"expected multiples of 8 like 1024x768, got {text!r}")
    return int(width), int(height)
