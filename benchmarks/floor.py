"""The bare UNet and VAE calls that some requests need at the least, at their best shape."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from batch_sdxl.core import ImageRequest, Model

from .calls import call_unet, latents, unet_inputs
from .clock import seconds, wait_for

ROWS = (2, 8, 16, 32)

#: Seconds of a call beside which launching its kernels is nothing.
LONG = 1.0


class Floor:
    """Makes no images: calls UNet and VAE as often as images need it, and nothing between.

    Its text is always of one chunk, its images are square with as many pixels, and its rows of any
    images share calls: less than any engine has to do.

    Attributes:
        pixels: of the sides of the images that it was timed with.
    """

    def __init__(self, model: Model, pixels: int, all_rows: Sequence[int] = ROWS) -> None:
        """Find the best memory format and number of rows for images of `pixels` squared."""
        self._model, self.pixels = model, pixels
        self._unets = {"eager": model.unet}
        if model.device.type != "cpu":  # where it gains nothing, and a large copy may not fit
            self._unets["channels-last"] = _channels_last(model.unet)
        self._vae = min([model.vae, _channels_last(model.vae)], key=self._time_vae)
        #: (memory format, rows) -> seconds of a row in a call of so many.
        self.per_row: dict[tuple[str, int], float] = {}
        for rows in all_rows:
            for how in self._unets:
                self.per_row[how, rows] = self._time(how, rows)
            if rows * self.per_row[how, rows] > LONG:  # larger ones gain no more
                break

    @property
    def shape(self) -> str:
        """The best one for much work, in words."""
        how, rows = self._best(10**6)
        return f"{rows} rows, {how}"

    def _best(self, total: int) -> tuple[str, int]:
        """Memory format and rows of the calls that take least for so many rows."""
        times = {
            key: math.ceil(total / key[1]) * key[1] * time for key, time in self.per_row.items()
        }
        return min(times, key=times.__getitem__)

    @torch.inference_mode()
    def _time(self, how: str, rows: int) -> float:
        inputs = unet_inputs(self._model, rows, self.pixels)
        return seconds(lambda: call_unet(self._unets[how], inputs), self._model.device, 0.2) / rows

    @torch.inference_mode()
    def _time_vae(self, vae: Any) -> float:
        part = latents(self._model, 1, self.pixels).to(vae.dtype)
        return seconds(lambda: vae.decode(part), self._model.device, 0.2)

    @torch.inference_mode()
    def __call__(self, requests: Sequence[ImageRequest]) -> Any:
        """Call what these requests need."""
        work: Counter[int] = Counter()
        for request in requests:
            work[_side(request)] += request.num_inference_steps * (1 + request.is_guided)
        # Steps of one image come after each other, so a lone one's rows fill no larger call.
        lone = 2 if len(requests) == 1 else None
        for pixels, total in work.items():
            how, rows = self._best(lone or total)
            inputs = unet_inputs(self._model, rows, pixels)
            for _ in range(math.ceil(total / rows)):
                call_unet(self._unets[how], inputs)
        for request in requests:
            part = latents(self._model, 1, _side(request)).to(self._model.vae.dtype)
            self._vae.decode(part, return_dict=False)
        wait_for(self._model.device)


def _channels_last(module: Any) -> Any:
    return copy.deepcopy(module).to(memory_format=torch.channels_last)


def _side(request: ImageRequest) -> int:
    """Of a square with about as many pixels, a multiple of 32."""
    assert request.width is not None
    assert request.height is not None
    return round(math.sqrt(request.width * request.height) / 32) * 32
