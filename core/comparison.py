"""The pixels of a file against those of its image made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .engine.generated_image import GeneratedImage
from .saving.png16 import to_uint16


@dataclass(frozen=True)
class Comparison:
    """A file against its image made again.

    Attributes:
        file: the file.
        changed: pixels that differ.
        total: pixels of the image.
        largest: the largest difference of a channel.
        white: what that is a part of: 255, or 65535 for unrounded pixels.
        elsewhere: what is not as it was when the file was made.
    """

    file: Path
    changed: int
    total: int
    largest: int
    white: int
    elsewhere: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether no pixel differs."""
        return self.changed == 0


def compare(
    file: Path, pixels: NDArray[np.float32], again: GeneratedImage, elsewhere: tuple[str, ...]
) -> Comparison:
    """The pixels of a file with those of the image.

    Args:
        file: the file.
        pixels: of it, (H, W, 3) fp32 in 0..1.
        again: the image, of the same size.
        elsewhere: as of `Comparison`.
    """
    # 16 bits: unrounded ones, or 8 bits spread over them, which is a multiple of 257.
    values = np.rint(pixels.astype(np.float64) * 65535).astype(int)
    spread = bool((values % 257 == 0).all())
    expected = again.pixels.astype(int) * 257 if spread else to_uint16(again.decoded).astype(int)
    difference = np.abs(values - expected).max(axis=2)
    if spread:
        difference //= 257
    return Comparison(
        file,
        int((difference > 0).sum()),
        difference.size,
        int(difference.max()),
        255 if spread else 65535,
        elsewhere,
    )
