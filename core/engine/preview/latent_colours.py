"""Colours of latents, without decoding them in full."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ...pinning import pinned
from ...transfer import Landing
from ..diffusers_backend import backend_of

if TYPE_CHECKING:
    from ...models.model import Model
    from ..backend import Backend

#: Latents of the longer side of an image that is decoded to see its colours.
SHRUNK = 8
#: Such images that the map is fitted to: the newest.
SAMPLES = 12
#: How far latents are taken at their word: those of a first guess can be anything.
MOST = 4.0


class _Look(NamedTuple):
    """An image's shrunk latents, (1, 4, h, w), and their pixels, (8 h, 8 w, 3), on their way."""

    place: int
    shrunk: Landing
    decoded: Landing


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
        self._looks: list[_Look] = []

    @property
    def is_here(self) -> bool:
        """Whether `learn` waits for nothing."""
        return all(look.decoded.is_here for look in self._looks)

    def look(self, index: int, latents: torch.Tensor) -> None:
        """Have the device find out the colours of an image as it is now.

        Args:
            index: its place.
            latents: scaled, (1, 4, h, w) fp32.
        """
        with pinned(self._model.device):
            scale = SHRUNK / max(latents.shape[-2:])
            height, width = (max(1, round(s * min(1.0, scale))) for s in latents.shape[-2:])
            shrunk = functional.interpolate(latents, size=(height, width), mode="area")
            decoded = self._model.decode(shrunk)
            self._looks.append(_Look(index, Landing(shrunk), Landing(decoded)))

    def learn(self) -> None:
        """Take in what was looked at."""
        if not self._looks:
            return
        with pinned(self._model.device):
            seen = [(look.place, *self._colours(look)) for look in self._looks]
            self._looks.clear()
            self._samples.extend(
                (_columns(shrunk), colours.flatten(1).T) for _, shrunk, colours in seen
            )
            columns, values = (torch.cat(part) for part in zip(*self._samples, strict=True))
            # A little towards none, so that few samples give no wild map.
            few = 1e-3 * len(columns) * torch.eye(columns.shape[1])
            self._map = torch.linalg.solve(columns.T @ columns + few, columns.T @ values)
            for index, shrunk, colours in seen:
                self._shifts[index] = colours - self._mapped(shrunk)

    def forget(self, index: int) -> None:
        """The image at this place is finished."""
        self._shifts.pop(index, None)

    def of(self, index: int, latents: torch.Tensor) -> NDArray[np.uint8]:
        """Scaled latents of an image, (1, 4, h, w) fp32 on the CPU -> (h, w, 3) uint8 RGB."""
        with pinned(self._model.device):
            colours = self._mapped(latents)
            if index in self._shifts:
                shift = self._shifts[index][None]
                size = latents.shape[-2:]
                colours += functional.interpolate(shift, size=size, mode="bilinear")[0]
            return np.asarray((colours.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())

    def _colours(self, look: _Look) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of a look, and the mean colour of each: (3, h, w) in 0..1."""
        shrunk = look.shrunk.wait()
        decoded = torch.nan_to_num(look.decoded.wait(), 0.5).permute(2, 0, 1)
        height, width = shrunk.shape[-2:]
        return shrunk, functional.adaptive_avg_pool2d(decoded, (height, width))

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
