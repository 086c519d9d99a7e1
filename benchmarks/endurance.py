"""What a run without end takes of the memory: many images with stubs in place of the arithmetic.

The UNet answers nothing and the VAE enlarges the latents, so that planning, sampling, storing and
saving are all that is left. Prints the memory of the process after 100 images, 500 and so on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

#: Images after which the memory is looked at, and then all so many.
MARKS, EVERY = (1, 100, 500), 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Numbers of the run."""
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024, help="pixels across and down")
    parser.add_argument("--output", type=Path, help="where images go (default: nowhere for good)")


def run(args: argparse.Namespace) -> None:
    """Make them, and tell."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seconds, memory in measure(args.images, args.size, args.output or Path(folder)):
            sys.stdout.write(f"{number:>6} images {seconds:>7.0f} s {memory / 2**20:>7.0f} MiB\n")
            sys.stdout.flush()


def measure(images: int, size: int, folder: Path) -> Iterator[tuple[int, float, int]]:
    """Number of images, seconds and resident bytes of the process, at each mark and at the end.

    Args:
        images: to make.
        size: pixels across and down.
        folder: that they and a store go to.
    """
    from batch_sdxl.core.store.chosen import FOLDER
    from batch_sdxl.headless.cli.main import main

    found: list[tuple[int, float, int]] = []
    start, done = time.monotonic(), 0

    def decoded() -> None:
        nonlocal done
        done += 1
        if done in MARKS or done % EVERY == 0:
            found.append((done, time.monotonic() - start, _resident()))
            sys.stderr.write(f"{found[-1]}\n")

    given = ["generate", "--prompts", "x", "--seeds", f"1..{images}", "--steps", "1", "--cfg", "1"]
    given += ["--width", str(size), "--height", str(size), "--output", str(folder / "images")]
    with _stubs(decoded), patch.dict(os.environ, {FOLDER: str(folder / "store")}):
        assert main(given) == 0
    yield from found
    yield done, time.monotonic() - start, _resident()


@contextmanager
def _stubs(decoded: object) -> Iterator[None]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    def predict(self: object, sample: torch.Tensor, *args: object, **named: object) -> object:
        return (torch.zeros_like(sample),)

    def decode(self: object, latents: torch.Tensor, **named: object) -> object:
        decoded()  # type: ignore[operator]
        return (torch.nn.functional.interpolate(latents[:, :3] / 8, scale_factor=8),)

    with (
        patch.object(UNet2DConditionModel, "forward", predict),
        patch.object(AutoencoderKL, "decode", decode),
    ):
        yield


def _resident() -> int:
    """Bytes of memory that the process takes now; without pages of files that it has mapped."""
    import psutil  # type: ignore[import-untyped]  # accelerate needs it, and so has brought it

    usage = psutil.Process().memory_info()
    return int(usage.rss - getattr(usage, "shared", 0))
