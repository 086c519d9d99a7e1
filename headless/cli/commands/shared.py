"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.errors import InvalidRequest

if TYPE_CHECKING:
    from ....cluster.cluster import Options
    from ..session import Session


def add_set(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    """`--set`."""
    parser.add_argument("--set", action="append", default=[], metavar=metavar, help=text)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """What `verify` and `reproduce` look for elsewhere."""
    parser.add_argument("--model", metavar="NAME", help="in place of the model that the file names")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where to look for input images, beside the folder of the file",
    )


def add_allow(parser: argparse.ArgumentParser) -> None:
    """`--allow`."""
    parser.add_argument(
        "--allow",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that input files may come from, beside the working directory",
    )


def add_keeping(parser: argparse.ArgumentParser) -> None:
    """What becomes of images that are there, and of a run that needs too much memory."""
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


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Those of a cluster; `session_of` reads them."""
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


def session_of(
    args: argparse.Namespace, folders: Sequence[Path], named: Collection[str], *, download: bool
) -> Session:
    """Where a command makes images, as its shared arguments have it; the others as of `Session`."""
    from ..session import Session

    return Session(
        folders,
        args.output,
        args.json,
        args.allow,
        named=named,
        download=download,
        stores=not args.no_store,
        anew=args.anew,
        fits=args.fit_memory,
        ray=_cluster_of(args),
    )


def _cluster_of(args: argparse.Namespace) -> Options | None:
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
    from ....cluster.cluster import Options

    return Options(args.ray, **said)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where images go, and how they are told."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="where images are written (default: output)",
    )
    add_json(parser, "print one JSON object with the files and what each was made from")


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", default=False, help=text)


def _count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)
