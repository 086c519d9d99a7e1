"""Latents to start from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidImage
from .kinds import Picture
from .named import Named
from .size import PIXELS_PER_LATENT


@dataclass(frozen=True, eq=False)
class SourceLatents:
    """Latents of one image. Two are equal when their numbers are.

    Attributes:
        numbers: (4, H/8, W/8) float32 of the VAE's own scale, as ComfyUI hands latents on and as
            `GeneratedImage` has them; not to be written to.
        name: where they came from, for people.
    """

    numbers: NDArray[np.float32]
    name: str = ""

    @classmethod
    def of(cls, latents: Any, name: str = "") -> SourceLatents:
        """The latents in an array or a tensor.

        Args:
            latents: (4, H/8, W/8) floating point numbers, or one of them in a batch of its own.
            name: where they came from, for people.

        Raises:
            InvalidImage: they are not SDXL's, or not finite.
        """
        if isinstance(latents, SourceLatents):
            return latents
        if hasattr(latents, "detach"):
            latents = latents.detach().cpu()
            if latents.is_floating_point():  # numpy has not all of torch's types
                latents = latents.float()
        numbers = np.asarray(latents)
        shape, kind = numbers.shape, numbers.dtype
        if len(shape) == 4 and shape[0] == 1:
            numbers = numbers[0]
        if numbers.ndim != 3 or len(numbers) != 4 or 0 in shape or kind.kind != "f":
            raise InvalidImage(
                "latents of SDXL, floating point numbers of 4 channels (4, height / 8, width / 8)",
                f"{name or 'some'} of shape {shape} and type {kind}",
                "Take them of an SDXL model or VAE; Empty Latent Image gives empty ones.",
            )
        with np.errstate(over="ignore"):  # what is too large for fp32 is refused next
            numbers = np.array(numbers, np.float32, order="C")
        if not np.isfinite(numbers).all():
            raise InvalidImage(
                f"finite numbers in {name or 'latents to start from'}",
                "NaN or infinite ones",
                "Look at what made them: a VAE or UNet in fp16 may overflow; bf16 or fp32 do not.",
            )
        numbers.setflags(write=False)
        return cls(numbers, name)

    @property
    def width(self) -> int:
        """Pixels across, of the image that they stand for."""
        return int(self.numbers.shape[2]) * PIXELS_PER_LATENT

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.numbers.shape[1]) * PIXELS_PER_LATENT

    @property
    def is_empty(self) -> bool:
        """Whether all are zero, as of ComfyUI's Empty Latent Image: they say a size alone."""
        return not self.numbers.any()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the size and the numbers, in hexadecimal."""
        size = "x".join(map(str, self.numbers.shape))
        return hashlib.sha256(f"{size} float32 ".encode() + self.numbers.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Whether the numbers are the same."""
        return isinstance(other, SourceLatents) and self.digest == other.digest

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.digest)


@dataclass(frozen=True)
class Latents(Picture):
    """Latents: their numbers, or what is known of them."""

    @property
    def range(self) -> str:
        """What is taken."""
        return "as numbers, (4, height / 8, width / 8)"

    def check(self, called: str, value: Any, advice: str) -> SourceLatents | Named:  # type: ignore[override]
        """The value as numbers; what is only known of some stays that."""
        if isinstance(value, SourceLatents | Named):
            return value
        try:
            return SourceLatents.of(value)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InvalidImage):
                raise
            self.refuse(called, value, advice)
