"""The whole batch at a glance while it is made: finished images sharp, running ones approximate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

#: Width and height of the sheet in pixels, at most; and of one tile.
SHEET, TILE = 1024, 256


class LatentColours:
    """Colours of latents by a quadratic map, fitted to the VAE itself on a patch of smooth noise.

    A thousand times faster than decoding, and good enough to see what an image will be.
    """

    def __init__(self, vae: Any) -> None:
        """Fit the map for an AutoencoderKL; one small decode."""
        draw = torch.Generator().manual_seed(0)
        coarse = 1.5 * torch.randn(1, 4, 12, 12, generator=draw)
        latents = torch.nn.functional.interpolate(coarse, size=(48, 48), mode="bicubic")
        scaled = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
        with torch.inference_mode():
            decoded = vae.decode(scaled, return_dict=False)[0].float().cpu()
        colours = torch.nn.functional.avg_pool2d(decoded, decoded.shape[-1] // 48)
        self._map = torch.linalg.lstsq(_columns(latents), colours[0].flatten(1).T).solution

    def __call__(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """Colours of scaled latents, (1, 4, h, w) fp32 -> (h, w, 3) uint8."""
        height, width = latents.shape[-2:]
        colours = (_columns(latents) @ self._map).reshape(height, width, 3)
        return np.asarray(((colours / 2 + 0.5).clamp(0, 1) * 255).byte().numpy())


def _columns(latents: torch.Tensor) -> torch.Tensor:
    """One, each latent's four values, and their products: (h * w, 15)."""
    ones = torch.ones_like(latents[0, :1])
    values = torch.cat([ones, latents[0]]).flatten(1)
    pairs = [values[i] * values[k] for i in range(5) for k in range(i, 5)]
    return torch.stack(pairs, dim=1)


class BatchPreview:
    """A sheet with a tile for each image of a batch."""

    def __init__(self, count: int, vae: Any) -> None:
        """Start with empty tiles for so many images."""
        self._columns = math.ceil(math.sqrt(count))
        self._tile = min(TILE, SHEET // self._columns)
        lines = math.ceil(count / self._columns)
        self._sheet = Image.new(
            "RGB", (self._columns * self._tile, lines * self._tile), (40, 40, 40)
        )
        self._colours = LatentColours(vae)

    def finish(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Put a finished image, (H, W, 3) uint8, on its tile."""
        self._put(index, Image.fromarray(pixels), Image.Resampling.LANCZOS)

    def draw(self, running: Iterable[tuple[int, torch.Tensor]]) -> Image.Image:
        """The sheet now.

        Args:
            running: index and estimated clean latents, (1, 4, h, w) fp32, of the images in work.
        """
        for index, latents in running:
            self._put(index, Image.fromarray(self._colours(latents)), Image.Resampling.BICUBIC)
        return self._sheet.copy()

    def _put(self, index: int, image: Image.Image, method: Image.Resampling) -> None:
        scale = self._tile / max(image.size)
        size = tuple(max(1, round(side * scale)) for side in image.size)
        x, y = index % self._columns * self._tile, index // self._columns * self._tile
        place = (x + (self._tile - size[0]) // 2, y + (self._tile - size[1]) // 2)
        self._sheet.paste(image.resize((size[0], size[1]), method), place)
