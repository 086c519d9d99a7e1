"""The whole batch at a glance while it is made: finished images sharp, running ones roughly.

A look changes nothing: no bit of an image, no generator. It is taken only as often as a small share
of the run's time pays for.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.nn import functional

from ..images.source import to_uint8
from ..pinning import pinned
from .diffusers_backend import backend_of

if TYPE_CHECKING:
    from ..models.model import Model
    from .backend import Backend
    from .lane import Lane

#: Pixels: the sheet's longer side at most, a tile's at least, and what is left free of a tile.
SHEET, TILE, GAP = 1024, 32, 2
BACKGROUND = (32, 32, 32)

#: What drawing may take of the run's time, and what finding out colours may (together, with what
#: can't be foreseen, they stay under 2 % in runs of more than some seconds), seconds before the
#: first drawing, and between two at least.
SHARE, COLOURS_SHARE, FIRST, PERIOD = 0.01, 0.006, 1.0, 0.3

#: Latents of the longer side of an image that is decoded to see its colours.
SHRUNK = 8
#: Such images that the map is fitted to: the newest.
SAMPLES = 12
#: How far latents are taken at their word: those of a first guess can be anything.
MOST = 4.0


class LatentColours:
    """Colours of latents, without decoding them in full.

    A few latents are decoded for each image in work now and then: the image shrunk to some 8 x 8.
    That gives its colours; the detail comes from a quadratic map that is fitted to the newest of
    these decodes.
    """

    def __init__(self, model: Model | Backend) -> None:
        """Nothing is known yet."""
        self._model = backend_of(model)
        self._samples: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=SAMPLES)
        self._map: torch.Tensor | None = None
        self._shifts: dict[int, torch.Tensor] = {}

    @property
    def is_ready(self) -> bool:
        """Whether any image was looked at."""
        return self._map is not None

    def look(self, index: int, latents: torch.Tensor) -> None:
        """Find out the colours of an image as it is now.

        Args:
            index: its place.
            latents: scaled, (1, 4, h, w) fp32.
        """
        with pinned(self._model.device):
            scale = SHRUNK / max(latents.shape[-2:])
            height, width = (max(1, round(s * min(1.0, scale))) for s in latents.shape[-2:])
            size = (height, width)
            shrunk = functional.interpolate(latents, size=size, mode="area")
            decoded = torch.nan_to_num(self._model.decode(shrunk).cpu(), 0.5).permute(2, 0, 1)
            colours = functional.adaptive_avg_pool2d(decoded, size)
            self._samples.append((_columns(shrunk), colours.flatten(1).T))
            columns, values = (torch.cat(part) for part in zip(*self._samples, strict=True))
            # A little towards none, so that few samples give no wild map.
            few = 1e-3 * len(columns) * torch.eye(columns.shape[1])
            self._map = torch.linalg.solve(columns.T @ columns + few, columns.T @ values)
            self._shifts[index] = colours - self._mapped(shrunk)

    def forget(self, index: int) -> None:
        """The image at this place is finished."""
        self._shifts.pop(index, None)

    def of(self, index: int, latents: torch.Tensor) -> NDArray[np.uint8]:
        """Scaled latents of an image, (1, 4, h, w) fp32 -> (h, w, 3) uint8 RGB."""
        with pinned(self._model.device):
            colours = self._mapped(latents)
            if index in self._shifts:
                shift = self._shifts[index][None]
                size = latents.shape[-2:]
                colours += functional.interpolate(shift, size=size, mode="bilinear")[0]
            return np.asarray((colours.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())

    def _mapped(self, latents: torch.Tensor) -> torch.Tensor:
        assert self._map is not None
        return (_columns(latents) @ self._map).T.reshape(3, *latents.shape[-2:])


def _columns(latents: torch.Tensor) -> torch.Tensor:
    """One, each place's four values, and their products: (h * w, 15)."""
    latents = torch.nan_to_num(latents).clamp(-MOST, MOST)
    ones = torch.ones_like(latents[0, :1])
    values = torch.cat([ones, latents[0]]).flatten(1)
    pairs = [values[i] * values[k] for i in range(5) for k in range(i, 5)]
    return torch.stack(pairs, dim=1)


class Layout(NamedTuple):
    """Where tiles lie.

    Attributes:
        columns: tiles side by side.
        lines: tiles one below the other.
        width: of a tile in pixels.
        height: likewise.
    """

    columns: int
    lines: int
    width: int
    height: int

    @classmethod
    def of(cls, count: int, width: int, height: int) -> Layout:
        """The layout with the largest tiles for so many images of this size in pixels.

        Where even the smallest tiles leave some over, as many as fit.
        """

        def longer_side(columns: int) -> int:
            return max(columns * width, -(-count // columns) * height)

        columns = min(range(1, count + 1), key=longer_side)
        lines = -(-count // columns)
        factor = min(1.0, SHEET / longer_side(columns))
        least = TILE / max(width, height)
        if factor < least:
            factor = least
            columns, lines = int(SHEET / (factor * width)), int(SHEET / (factor * height))
        return cls(columns, lines, max(1, int(factor * width)), max(1, int(factor * height)))


class BatchPreview:
    """A sheet with a tile for each image of a batch, dark until the image is begun.

    It keeps account of what its drawing takes, and draws only while that is less than `SHARE` of
    the time since it was made; but the end in any case, since that stays to be seen. Each drawing
    shows all images as they are then; colours are looked up for as many of them as `COLOURS_SHARE`
    pays for, the one whose turn is longest ago first. Of more images than fit at `TILE` pixels it
    shows a page: the one with the newest image in work, empty when it is turned to.
    """

    def __init__(
        self,
        model: Model | Backend,
        sizes: Sequence[tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with empty tiles; nothing is computed before the first drawing.

        Args:
            model: that makes the images.
            sizes: width and height in pixels of each of them.
            clock: seconds from any point on.
        """
        self._model = backend_of(model)
        widths, heights = zip(*sizes, strict=True)
        self._layout = Layout.of(len(sizes), max(widths), max(heights))
        self._page = 0
        self._sheet = self._empty()
        self._finished: dict[int, NDArray[Any]] = {}
        self._clock = clock
        self._begin = clock()
        self._last: float | None = None
        self._spent = self._cost = self._encoding = 0.0
        self._colours = LatentColours(model)
        self._looked: dict[int, float] = {}
        self._looking = self._a_look = 0.0

    def finish(self, index: int, image: NDArray[Any]) -> None:
        """Have a finished image on its tile from the next drawing on.

        Args:
            index: place of its request.
            image: (H, W, 3), uint8 or float32 in 0..1.
        """
        self._finished[index] = image

    def draw(self, running: Mapping[int, Lane], *, last: bool = False) -> Image.Image | None:
        """The sheet as it is now, RGB; None while it is not due.

        Args:
            running: the images in work, by place of their request.
            last: whether the run is over, so that this drawing stays.
        """
        begin = self._clock()
        if not last and not ((running or self._finished) and self._is_due(begin)):
            return None
        self._turn(max(running, default=self._page * self._capacity) // self._capacity)
        for index, image in self._finished.items():
            self._put(index, image)
            self._colours.forget(index)
            self._looked.pop(index, None)
        self._finished.clear()
        estimates = {index: lane.estimate().cpu() for index, lane in running.items()}
        before = self._clock()
        self._look(estimates, before)
        after = self._clock()
        self._looking += after - before
        for index, latents in estimates.items():
            self._put(index, self._colours.of(index, latents))
        sheet = self._sheet.copy()
        self._encoding = self._encoding or self._time_encoding()
        self._last = end = self._clock()
        self._cost = end - after + before - begin + self._encoding
        self._spent += self._cost
        return sheet

    def _look(self, estimates: Mapping[int, torch.Tensor], now: float) -> None:
        """Find out the colours of as many images as there is time for, at first of one."""
        for index in sorted(estimates, key=lambda index: self._looked.get(index, -1.0)):
            start = self._clock()
            spent = self._looking + start - now + self._a_look
            if spent > COLOURS_SHARE * (now - self._begin) and self._colours.is_ready:
                break
            self._colours.look(index, estimates[index])
            self._looked[index] = now
            self._a_look = self._clock() - start

    def _is_due(self, now: float) -> bool:
        if self._last is None:
            return now - self._begin >= FIRST
        spent, share = self._spent, SHARE
        if self._finished:  # which a person waits for more than for colours
            spent, share = spent + self._looking, SHARE + COLOURS_SHARE
        # The second of the two is the end's.
        paid = spent + 2 * self._cost <= share * (now - self._begin)
        return paid and now - self._last >= PERIOD

    def _time_encoding(self) -> float:
        """Seconds that the host will take to make a JPEG of a sheet full of detail."""
        noise = Image.effect_noise(self._sheet.size, 16).convert("RGB")
        begin = self._clock()
        noise.save(io.BytesIO(), "JPEG", quality=95)
        return self._clock() - begin

    @property
    def _capacity(self) -> int:
        return self._layout.columns * self._layout.lines

    def _turn(self, page: int) -> None:
        if page != self._page:
            self._page = page
            self._sheet = self._empty()

    def _empty(self) -> Image.Image:
        columns, lines, width, height = self._layout
        return Image.new("RGB", (columns * width, lines * height), BACKGROUND)

    def _put(self, index: int, pixels: NDArray[Any]) -> None:
        """Draw an image in the middle of its tile, in its own shape, if it is on the page."""
        page, place = divmod(index, self._capacity)
        if page != self._page:
            return
        if pixels.dtype != np.uint8:
            pixels = to_uint8(torch.from_numpy(pixels))
        columns, _, width, height = self._layout
        room = (max(1, width - GAP), max(1, height - GAP))
        image = ImageOps.contain(Image.fromarray(pixels), room, Image.Resampling.BICUBIC)
        line, column = divmod(place, columns)
        x = column * width + (width - image.width) // 2
        y = line * height + (height - image.height) // 2
        self._sheet.paste(image, (x, y))
