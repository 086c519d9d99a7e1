"""What a run of many images takes of the memory and the CPU, with stubs in place of the arithmetic.

The UNet answers nothing and the VAE enlarges the latents, so that planning, sampling, storing and
saving are all that is left. Tells the memory of the process after some images and at the end, and
what each image but the first took of the CPU: from planning to the table of files, it should be
the same of 10 images and of 10,000.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import torch

#: Images after which the memory is looked at, and then each time so many more are there.
FIRST, EVERY = (100, 500), 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Numbers of the runs."""
    parser.add_argument("--images", type=int, nargs="+", default=[10_000], help="of each run")
    parser.add_argument("--size", type=int, default=1024, help="pixels across and down")
    parser.add_argument("--output", type=Path, help="a folder to work in (default: the system's)")


def run(args: argparse.Namespace) -> None:
    """Make them, and tell."""
    start, done, out = time.monotonic(), 0, sys.stdout

    def tell(more: str = "") -> None:
        seconds, memory = time.monotonic() - start, _resident() / 2**20
        line = f"{done:>6} images {seconds:>6.0f} s {memory:>6.0f} MiB{more}"
        print(line, file=out, flush=True)

    def decoded() -> None:
        nonlocal done
        done += 1
        if done in FIRST or done % EVERY == 0:
            tell()

    def cpu(images: int) -> float:
        nonlocal start, done
        with tempfile.TemporaryDirectory(dir=args.output) as folder, _stubs(decoded):
            start, done, before = time.monotonic(), 0, time.process_time()
            endure(images, args.size, Path(folder))
            return time.process_time() - before

    cpu(1)  # which imports all there is
    alone = cpu(1)
    for images in args.images:
        more = (cpu(images) - alone) / max(images - 1, 1)
        tell(f" {1000 * more:>6.1f} ms of CPU an image")


def endure(images: int, size: int, folder: Path) -> None:
    """Make images of one step, square, in a folder with a store of its own."""
    from batch_sdxl.core.store.chosen import FOLDER
    from batch_sdxl.headless.cli.main import main

    given = ["generate", "--prompts", "x", "--seeds", f"1..{images}", "--steps", "1", "--cfg", "1"]
    given += ["--width", str(size), "--height", str(size), "--output", str(folder / "images")]
    with patch.dict(os.environ, {FOLDER: str(folder / "store")}), redirect_stdout(StringIO()):
        code = main(given)
    if code:
        sys.exit(code)


@contextmanager
def _stubs(decoded: Callable[[], None]) -> Iterator[None]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    def predict(_self: object, sample: torch.Tensor, *_args: object, **_named: object) -> object:
        return (torch.zeros_like(sample),)

    def decode(_self: object, latents: torch.Tensor, **_named: object) -> object:
        decoded()
        return (torch.nn.functional.interpolate(latents[:, :3] / 8, scale_factor=8),)

    with (
        patch.object(UNet2DConditionModel, "forward", predict),
        patch.object(AutoencoderKL, "decode", decode),
    ):
        yield


def _resident() -> int:
    """Bytes of memory that the process takes now."""
    import psutil  # type: ignore[import-untyped]  # accelerate needs it, and so has brought it

    return int(psutil.Process().memory_info().rss)
