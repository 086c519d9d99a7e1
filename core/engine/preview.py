"""The whole batch at a glance while it is made: finished images sharp, running ones roughly.

A look changes nothing: no bit of an image, no generator. It is taken only as often as a small share
of the run's time pays for.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

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

#: What drawing may take of the run's time (with what can't be foreseen, it stays under 2 % in runs
#: of more than some seconds), seconds before the first drawing, and between two at least.
SHARE, FIRST, PERIOD = 0.015, 1.0, 0.3

#: Width and height of the latents that the colours are fitted to.
PATCH = 16

_fitted: WeakKeyDictionary[Any, LatentColours] = WeakKeyDictionary()


class LatentColours:
    """Colours of latents, by a quadratic map that is fitted to the VAE on a patch of smooth noise.

    A thousand times faster than decoding, and enough to see what an image will be.
    """

    def __init__(self, model: Backend) -> None:
        """Fit the map by one small decode."""
        draw = torch.Generator().manual_seed(0)
        with pinned(model.device):
            coarse = torch.randn(1, 4, PATCH // 2, PATCH // 2, generator=draw)
            latents = torch.nn.functional.interpolate(coarse, size=(PATCH, PATCH), mode="bicubic")
            decoded = model.decode(latents).permute(2, 0, 1)
            colours = torch.nn.functional.avg_pool2d(decoded, decoded.shape[-1] // PATCH)
            self._map = torch.linalg.lstsq(_columns(latents), colours.flatten(1).T).solution

    @classmethod
    def of(cls, model: Model | Backend) -> LatentColours:
        """Those of the model's VAE, fitted once and remembered as long as the VAE lives."""
        backend = backend_of(model)
        if backend.vae not in _fitted:
            _fitted[backend.vae] = cls(backend)
        return _fitted[backend.vae]

    def __call__(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """Scaled latents, (1, 4, h, w) fp32 -> (h, w, 3) uint8 RGB."""
        height, width = latents.shape[-2:]
        with pinned(latents.device):
            colours = (_columns(latents) @ self._map).reshape(height, width, 3)
            return np.asarray((colours.clamp(0, 1) * 255).byte().numpy())


def _columns(latents: torch.Tensor) -> torch.Tensor:
    """One, each place's four values, and their products: (h * w, 15)."""
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
    the time since it was made; but the end in any case, since that stays to be seen. Of more images
    than fit at `TILE` pixels it shows a page: the one with the newest image in work, empty when it
    is turned to.
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
        if not last and not (running and self._is_due(begin)):
            return None
        colours = LatentColours.of(self._model) if running else None
        fitted = self._clock()
        self._turn(max(running, default=self._page * self._capacity) // self._capacity)
        for index, image in self._finished.items():
            self._put(index, image)
        self._finished.clear()
        for index, lane in running.items():
            assert colours is not None
            self._put(index, colours(lane.estimate()))
        sheet = self._sheet.copy()
        self._encoding = self._encoding or self._time_encoding()
        self._last = end = self._clock()
        self._cost = end - fitted + self._encoding
        self._spent += end - begin + self._encoding
        return sheet

    def _is_due(self, now: float) -> bool:
        if self._last is None:
            return now - self._begin >= FIRST
        # The second of the two is the end's.
        paid = self._spent + 2 * self._cost <= SHARE * (now - self._begin)
        return paid and now - self._last >= PERIOD

    def _time_encoding(self) -> float:
        """Seconds that the host will take to make a JPEG of a sheet, at worst."""
        noise = Image.effect_noise(self._sheet.size, 64).convert("RGB")
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
