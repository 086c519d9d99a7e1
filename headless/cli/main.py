"""The command `batch-sdxl`."""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import BatchSDXLError, InvalidPrompts, InvalidRequest
from ...core.wording import brief
from ...host import host
from ..notes import left_by, notes_of
from .arguments import parser
from .signals import interrupt, received_by
from .streams import tolerant

if TYPE_CHECKING:
    from ...cluster.cluster import Options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        The exit code: 0, 1 after an error of ours, 130 where it was stopped; of `verify` those of
        `verification`. (2, for wrong usage, is raised as SystemExit by argparse.)
    """
    # The end of the process frees its memory at once. Looking for garbage first, in all that the
    # libraries of models have made, takes Python more than a second.
    atexit.register(gc.freeze)
    with tolerant():
        return _run_command(argv)


def _run_command(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
        _quieten()
        with received_by(interrupt):
            return _COMMANDS[args.command](args)
    except BatchSDXLError as error:
        sys.stderr.write("".join(f"{where}:\n" for where in notes_of(error)))
        sys.stderr.write(f"Expected: {error.expected}\n")
        sys.stderr.write(f"Got:      {error.got}\n")
        sys.stderr.write(f"To do:    {error.action}\n")
        if left := left_by(error):
            sys.stderr.write(f"There is: {left}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"\nStopped. {left_by(stop) or 'No file is written.'}\n")
        return 130


def _run(args: argparse.Namespace) -> int:
    from ..graph import workflow
    from . import settings
    from .session import Session

    folders = [args.workflow.resolve().parent]
    named = {text.partition("=")[2] for text in args.set}
    with Session(
        folders,
        args.output,
        args.json,
        args.allow,
        named=named,
        download=args.download,
        stores=not args.no_store,
        anew=args.anew,
        fits=args.fit_memory,
        ray=_ray(args),
    ) as session:
        graph = workflow.read(args.workflow, session.catalog)
        return session.produce(settings.apply(graph, session.catalog, args.set))


def _convert(args: argparse.Namespace) -> int:
    from .conversion import write

    return write(args.workflow, args.output)


def _generate(args: argparse.Namespace) -> int:
    from . import photos, prompt_source, recipe
    from .session import Session

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
    with Session(
        folders,
        args.output,
        args.json,
        args.allow,
        named=named,
        download=True,
        stores=not args.no_store,
        anew=args.anew,
        fits=args.fit_memory,
        ray=_ray(args),
    ) as session:
        session.tell(prompt_source.said(given, file))
        for line in recipe.unused(options):
            session.tell(line)
        return session.produce(recipe.graph(session.catalog, options, loras))


def _ray(args: argparse.Namespace) -> Options | None:
    """What was said of the cluster, None for none."""
    said = {name[4:]: value for name, value in vars(args).items() if name.startswith("ray_")}
    if args.ray is None:
        if any(said.values()):
            name = next(name for name, value in said.items() if value)
            raise InvalidRequest(
                f"--ray with --ray-{name.replace('_', '-')}",
                "none",
                "Add --ray to start workers on this machine, or --ray ADDRESS.",
            )
        return None
    from ...cluster.cluster import Options

    return Options(args.ray, **said)


def _lora(text: str) -> tuple[str, float]:
    """The name and the strength of `FILE[:STRENGTH]`; a drive's colon is none."""
    name, colon, strength = text.rpartition(":")
    try:
        return (name, float(strength)) if colon else (text, 1.0)
    except ValueError:
        return text, 1.0


def _verify(args: argparse.Namespace) -> int:
    from . import verification

    return verification.run(args.files, args.model, args.images)


def _reproduce(args: argparse.Namespace) -> int:
    from ...core.replay import Replay
    from ...core.request.fields import from_texts
    from ...core.request.image_request import ImageRequest
    from ...core.saving.image_file import png_texts
    from ...core.saving.room import check_folder
    from ...core.saving.writer import save_png

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


def _store(args: argparse.Namespace) -> int:
    from . import storing

    return storing.run(args.clear, args.json)


def _doctor(args: argparse.Namespace) -> int:
    from .diagnosis import to_text
    from .doctor import examine

    report = examine(args.model, args.dtype, args.size)
    sys.stdout.write(json.dumps(report) + "\n" if args.json else to_text(report))
    return 0 if report["possible"] else 1


def _pair(text: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`."""
    name, found, value = text.partition("=")
    if not found:
        raise InvalidRequest("NAME=VALUE after --set", repr(text), "Write for example steps=30.")
    return name.strip(), value


def _quieten() -> None:
    """Keep what the libraries say about themselves off the terminal."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "convert": _convert,
    "generate": _generate,
    "verify": _verify,
    "reproduce": _reproduce,
    "store": _store,
    "doctor": _doctor,
}
