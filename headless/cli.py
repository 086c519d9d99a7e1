"""The command `batch-sdxl`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.errors import BatchSDXLError, InvalidImage, InvalidPrompts, InvalidRequest
from .notes import notes_of

_EXAMPLES = """examples:
  batch-sdxl run portrait.json
  batch-sdxl run portrait.json --set "Seed List.seeds=100..115" --set 5.steps=30
  batch-sdxl generate --prompts "a red circle" --seeds "random(8, from=7)"
  batch-sdxl generate --prompts prompts.txt --seeds 1..4 --combine product --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        The exit code: 0, 1 after an error of ours, 130 after Ctrl-C. (2, for wrong usage, is
        raised as SystemExit by argparse.)
    """
    args = _parser().parse_args(argv)
    _quieten()
    try:
        command: Callable[[argparse.Namespace], int] = args.command
        return command(args)
    except BatchSDXLError as error:
        sys.stderr.write("".join(f"{where}:\n" for where in notes_of(error)))
        sys.stderr.write(f"Expected: {error.expected}\n")
        sys.stderr.write(f"Got:      {error.got}\n")
        sys.stderr.write(f"To do:    {error.action}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(" ".join(["\nStopped.", *notes_of(stop)]) + "\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="batch-sdxl",
        description="Many SDXL images in one run, each reproducible on its own.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"batch-sdxl {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_generate(commands)
    _add_verify(commands)
    _add_reproduce(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a workflow file without ComfyUI",
        description="Run a workflow of Batch SDXL nodes, as ComfyUI saved or exported it.",
        epilog="A node is named by its id or its title: "
        '--set 3.seeds=1..4 --set "Batch Generate.steps=30"',
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="put a value in place of the one in the file; may be given more than once",
    )
    _add_allow(parser)
    _add_output(parser)
    parser.set_defaults(command=_run)


def _add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "generate",
        help="make images without a workflow file",
        description="Make images of prompts and seeds. What is not given is as in a fresh node.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--prompts",
        required=True,
        metavar="FILE_OR_TEXT",
        help="a .txt file, or text; one prompt a line",
    )
    parser.add_argument(
        "--seeds", required=True, metavar="EXPR", help='like 7 or "1, 5, 9" or "random(8, from=7)"'
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
    parser.set_defaults(command=_generate)


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "verify",
        help="make images again from what their files say, and compare",
        description="Make each image again, alone, from what its file says, and compare the "
        "pixels. The exit code is 0 if all are identical.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE_OR_DIR")
    _add_sources(parser)
    parser.set_defaults(command=_verify)


def _add_reproduce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="make an image again from what its file says, with changes",
        description="Make an image again from what its file says, with changes to its request.",
        epilog='batch-sdxl reproduce shapes_00003_seed7.png --set "prompt=a red circle, small"',
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting in place of the one in the file, such as prompt, seed, steps or cfg",
    )
    _add_sources(parser)
    _add_output(parser)
    parser.set_defaults(command=_reproduce)


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
    parser.add_argument(
        "--json",
        action="store_true",
        default=False,
        help="print one JSON object with the files and what each was made from",
    )


def _run(args: argparse.Namespace) -> int:
    from . import settings, workflow
    from .session import Session

    folders = [args.workflow.resolve().parent]
    with Session(folders, args.output, args.json, args.allow) as session:
        graph = workflow.read(args.workflow, session.catalog)
        session.produce(settings.apply(graph, session.catalog, args.set))
    return 0


def _generate(args: argparse.Namespace) -> int:
    from . import recipe
    from .session import Session

    options = {name: value for name, value in vars(args).items() if name in recipe.TARGETS}
    options["prompts"] = _text(options["prompts"])
    folders = []
    if "images" in options:
        # The node looks below the host's folders only; this one a person has named.
        folder = Path(options["images"]).resolve()
        folders, options["images"] = [folder.parent], f"./{folder.name}"
    with Session(folders, args.output, args.json, args.allow) as session:
        session.produce(recipe.graph(session.catalog, options))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from .replay import Replay

    replay = Replay(args.model, args.images)
    files = [file for given in args.files for file in _pictures(given)]
    failed = 0
    for file in files:
        try:
            result = replay.verify(file)
        except BatchSDXLError as error:
            failed += 1
            sys.stdout.write(f"not checked  {file}\n  {error}\n")
            continue
        failed += result.changed > 0
        verdict = "identical" if not result.changed else "differs"
        sys.stdout.write(f"{verdict:11}  {file}\n")
        for part in result.elsewhere:
            sys.stdout.write(f"  not as it was: {part}\n")
        if result.changed:
            sys.stdout.write(
                f"  {result.changed:,} of {result.total:,} pixels differ, "
                f"by at most {result.largest} of {result.white}\n"
            )
    sys.stdout.write(f"{len(files) - failed} of {len(files)} identical\n")
    return 1 if failed else 0


def _pictures(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    files = sorted(path for path in given.rglob("*") if path.suffix in (".png", ".webp"))
    if not files:
        raise InvalidImage(
            "PNG or WebP files to verify", f"none in {given}", "Name another folder."
        )
    return files


def _reproduce(args: argparse.Namespace) -> int:
    from ..core.metadata import png_texts
    from ..core.saving.writer import save_png
    from .replay import Replay

    changes = dict(_pair(text) for text in args.set)
    record, pixels, elsewhere = Replay(args.model, args.images).reproduce(args.file, changes)
    stem = f"reproduced_*_seed{record['seed']}"
    file = save_png(args.output.absolute(), stem, pixels, png_texts(record, {}))
    for part in elsewhere:
        sys.stderr.write(f"not as it was: {part}\n")
    row = {"file": str(file), "row": record}
    sys.stdout.write((json.dumps(row, ensure_ascii=False) if args.json else str(file)) + "\n")
    return 0


def _pair(text: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`."""
    name, found, value = text.partition("=")
    if not found:
        raise InvalidRequest("NAME=VALUE after --set", repr(text), "Write for example steps=30.")
    return name.strip(), value


def _text(file_or_text: str) -> str:
    """The content of a .txt file, else the text itself."""
    if not file_or_text.endswith(".txt") or "\n" in file_or_text:
        return file_or_text
    try:
        return Path(file_or_text).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InvalidPrompts(
            "a text file in UTF-8", f"{file_or_text} ({error})", "Check its name and its encoding."
        ) from error


def _quieten() -> None:
    """Keep what the libraries say about themselves off the terminal."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
