"""The whole batch at a glance while it is made: finished images sharp, running ones roughly.

A look changes nothing: no bit of an image, no generator. It is taken only as often as a small share
of the run's time pays for.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...images.source import to_uint8
from ...transfer import Landing
from .latent_colours import LatentColours
from .layout import Layout
from .pace import Pace

if TYPE_CHECKING:
    from ...models.model import Model
    from ..backend import Backend
    from ..lane import Lane

#: Pixels that are left free of a tile.
GAP = 2
BACKGROUND = (32, 32, 32)

#: Of a sheet, one of which is encoded to see what that takes.
STRIPS = 16


class BatchPreview:
    """A sheet with a tile for each image of a batch, dark until the image is begun.

    It is drawn as often as `Pace` allows; the end in any case, since that stays to be seen. A
    drawing has all images that are finished. Of those in work it brings as many up to date as there
    is time for, and looks up the colours of some, those whose turn is longest ago first. Of more
    images than fit at a tile's least size it shows a page: the one with the newest image in work,
    empty when it is turned to.

    Of a device that works beside the CPU nothing is waited for: what is to be drawn is fetched by
    one call of `draw`, and drawn by the first that finds it here.
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
        widths, heights = zip(*sizes, strict=True)
        self._layout = Layout.of(len(sizes), max(widths), max(heights))
        self._page = 0
        self._sheet = self._empty()
        self._finished: dict[int, NDArray[Any]] = {}
        self._coming: dict[int, Landing] = {}
        self._clock = clock
        self._pace = Pace(clock)
        self._colours = LatentColours(model)
        #: When the tile of an image in work was last brought up to date, and its colours.
        self._tiled: dict[int, float] = {}
        self._looked: dict[int, float] = {}
        self._strips = count()

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
        if not self._coming:
            is_something = bool(running or self._finished)
            is_due = is_something and self._pace.allows_drawing(
                len(running), finished=bool(self._finished)
            )
            if not (is_due or last):
                return None
            self._fetch(running)
        is_here = self._colours.is_here and all(part.is_here for part in self._coming.values())
        if not (is_here or last):
            return None
        self._turn(max(running, default=self._page * self._capacity) // self._capacity)
        begin = self._clock()
        self._colours.learn()
        for index, estimate in self._coming.items():
            self._put(index, self._colours.of(index, estimate.wait()))
        if self._coming:
            self._pace.tile.took(self._clock() - begin, len(self._coming))
        begin = self._clock()
        for index, image in self._finished.items():
            self._put(index, image)
            self._colours.forget(index)
            for known in (self._tiled, self._looked):
                known.pop(index, None)
        sheet = self._sheet.copy()
        self._pace.sheet.took(self._clock() - begin + self._time_encoding())
        self._finished.clear()
        self._coming.clear()
        self._pace.drawn()
        return sheet

    def _fetch(self, running: Mapping[int, Lane]) -> None:
        """Have those tiles come, and their colours, for which there is time."""
        now = self._clock()
        oldest = sorted(running, key=lambda index: self._tiled.get(index, -1.0))
        chosen = oldest[: self._pace.tiles(len(running))]
        for index in sorted(chosen, key=lambda index: self._looked.get(index, -1.0)):
            if not self._pace.allows_look:
                break
            begin = self._clock()
            self._colours.look(index, running[index].estimate())
            self._pace.look.took(self._clock() - begin)
            self._looked[index] = now
        for index in chosen:
            self._coming[index] = Landing(running[index].estimate())
            self._tiled[index] = now

    def _time_encoding(self) -> float:
        """Seconds that the host will take to make a JPEG of the sheet.

        As a strip of it shows, another one each time, the quicker of two times.
        """
        width, height = self._sheet.size
        part = -(-height // STRIPS)
        top = next(self._strips) % STRIPS * part
        strip = self._sheet.crop((0, top, width, top + part))

        def seconds() -> float:
            begin = self._clock()
            strip.save(io.BytesIO(), "JPEG", quality=95)
            return self._clock() - begin

        return STRIPS * min(seconds(), seconds())

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
