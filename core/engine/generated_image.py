"""Finished images, and those on their way from the device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ..images.source import rounded
from ..models.vae import failed_image
from ..request.image_request import SizedRequest
from ..request.record import Record
from ..transfer import Landing
from .backend import Backend
from .lane import Lane


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """A finished image.

    Attributes:
        index: place of its request among those given.
        request: what it was made from.
        decoded: (H, W, 3) float32 RGB in 0..1, before rounding.
        pixels: (H, W, 3) uint8 RGB, rounded once.
        latents: (4, H/8, W/8) float32, that it was decoded from: of the VAE's own scale, in which
            ComfyUI hands latents on.
        record: what it was made from, the model and the numerics included.
    """

    index: int
    request: SizedRequest
    decoded: torch.Tensor = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)
    latents: torch.Tensor = field(repr=False)
    record: Record


class Decoded:
    """A finished lane's image, which the device may still be at work on.

    Attributes:
        index: place of its request among those given.
    """

    def __init__(self, backend: Backend, lane: Lane, vae_tile: int | None, record: Record) -> None:
        """Have it decoded, alone, and rounded once to 8 bits.

        Raises:
            FailedImage: the backend sees right away that its numbers are not finite.
        """
        self.index = lane.index
        self._request, self._record = lane.request, record
        self._dtypes = backend.dtype, backend.vae_dtype
        image = backend.decode(lane.latents, vae_tile)
        self._latents = Landing(backend.unscaled(lane.latents)[0].float())
        self._image, self._pixels = Landing(image), Landing(rounded(image))

    def image(self) -> GeneratedImage:
        """The image, once it is here.

        Raises:
            FailedImage: its numbers are not finite.
        """
        decoded, latents = self._image.wait(), self._latents.wait()
        for what, is_finite, dtype in zip(
            ("latents", "pixels of the VAE"),
            (latents.isfinite().all(), ~decoded[0, 0, 0].isnan()),
            self._dtypes,
            strict=True,
        ):
            if not is_finite:
                raise failed_image(what, dtype)
        pixels = np.asarray(self._pixels.wait().numpy())
        return GeneratedImage(self.index, self._request, decoded, pixels, latents, self._record)
