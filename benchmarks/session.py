"""What the measurements of a GPU share: sizes, models, ceilings, and where results go."""

from __future__ import annotations

import gc
import time
from functools import cached_property, partial
from typing import NamedTuple

import torch
from batch_sdxl.core import Model

from .calls import operations
from .clock import seconds, wait_for
from .models import make
from .results import Results


class Scale(NamedTuple):
    """Sizes of the work.

    Attributes:
        model: a key of `SIZES`.
        pixels: width and height of the images, the model's own first.
        rows: of UNet calls, to measure speed with.
        few: of those that the promise is tried with; the last one is the fullest call.
        steps: of whole images.
        spend: seconds to time a call for.
    """

    model: str
    pixels: tuple[int, int]
    rows: tuple[int, ...]
    few: tuple[int, ...]
    steps: tuple[int, int]
    spend: float = 1.0


SCALES = {
    "true": Scale("true", (1024, 512), (2, 4, 8, 16, 32), (2, 4, 6, 8, 16), (20, 30)),
    "mid": Scale("mid", (256, 128), (2, 4, 8), (2, 4, 8), (4, 6)),
    "tiny": Scale("tiny", (64, 32), (2, 4), (2, 4), (1, 2), spend=0.0),
    "small": Scale("small", (128, 64), (2, 4), (2, 4), (2, 3)),
}


class Session:
    """What the parts share: the machine, one model at a time, and where results go."""

    def __init__(self, scale: Scale, device: torch.device, results: Results) -> None:
        """Load nothing yet."""
        self.scale = scale
        self.device = device
        self.add = results.add
        self._made: tuple[str, Model] | None = None

    @property
    def half(self) -> tuple[str, ...]:
        """The precisions that images are made in, the product's choice first."""
        return ("fp16", "bf16") if self.device.type == "cuda" else ("fp32", "bf16")

    def tidy(self) -> None:
        """Let go of what nothing holds any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def model(self, dtype: str) -> Model:
        """The model in a precision; the one before it is let go of."""
        if self._made is None or self._made[0] != dtype:
            self._made = None
            self.tidy()
            begin = time.perf_counter()
            self._made = dtype, make(self.scale.model, self.device, dtype)
            wait_for(self.device)
            took = time.perf_counter() - begin
            self.add("models", size=self.scale.model, dtype=dtype, seconds=took)
        return self._made[1]

    @cached_property
    def work(self) -> tuple[float, float]:
        """Operations of a row and of a decoded image, at the model's own size."""
        return operations(self.model(self.half[0]), self.scale.pixels[0])

    @cached_property
    def rate(self) -> dict[str, float]:
        """Operations a second of a large matrix product, by precision."""
        side = 8192 if self.device.type == "cuda" else 512
        found = {}
        for dtype in ("fp16", "bf16", "fp32"):
            kind = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
            one, other = (torch.randn(side, side, device=self.device).to(kind) for _ in range(2))
            found[dtype] = (
                2 * side**3 / seconds(partial(torch.matmul, one, other), self.device, 0.3)
            )
        return found

    def floor(self, dtype: str, steps: int) -> float:
        """Seconds of a guided image if all its work ran as fast as a large matrix product."""
        row, image = self.work
        return (2 * steps * row + image) / self.rate[dtype]
