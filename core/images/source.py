"""Files <-> pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import InvalidImage
from .decoder import Picture, decode, to_float
from .files import check_pixels, open_image, readable

if TYPE_CHECKING:
    import torch

#: Ways to bring an image to a size: cut off what is over, add black edges, or change its shape.
FITS: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "crop": lambda image, size: ImageOps.fit(image, size, Image.Resampling.LANCZOS),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.LANCZOS),
    "stretch": lambda image, size: image.resize(size, Image.Resampling.LANCZOS),
}


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An input image. Two are equal when their pixels are.

    Attributes:
        pixels: (H, W, 3) float32 RGB in 0..1, not to be written to.
        mask: (H, W) float32 in 0..1, 1 where the file is transparent; None if it has no alpha.
        name: where it came from, for people.
    """

    pixels: NDArray[np.float32]
    mask: NDArray[np.float32] | None = field(default=None, repr=False)
    name: str = ""

    @classmethod
    def of(cls, image: Any, name: str = "") -> SourceImage:
        """The image in a PIL image, an array or a tensor.

        Args:
            image: a PIL image; or (H, W, 3) numbers, uint8 in 0..255 or floating in 0..1.
            name: where it came from, for people.

        Raises:
            InvalidImage: it is none of these.
        """
        if isinstance(image, SourceImage):
            return image
        if isinstance(image, Image.Image):
            with readable(None, name or "the image"):
                return cls._of_picture(decode(image, name), name)
        pixels = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.kind not in "uf":
            raise InvalidImage(
                "a PIL image, or (height, width, 3) numbers: uint8, or floating point in 0..1",
                f"{type(image).__name__} of shape {pixels.shape} and type {pixels.dtype}",
                "Convert it to RGB with the channels last.",
            )
        if pixels.dtype == np.uint8:
            return cls(_frozen(pixels.astype(np.float32) / np.float32(255)), name=name)
        pixels = pixels.astype(np.float32)
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # also true of NaN
            raise InvalidImage(
                "pixels in 0..1",
                f"values from {pixels.min():.4g} to {pixels.max():.4g}",
                "Scale the image to 0..1 first.",
            )
        return cls(_frozen(pixels), name=name)

    @classmethod
    def _of_picture(cls, picture: Picture, name: str) -> SourceImage:
        rgb, alpha = to_float(picture)
        return cls(_frozen(rgb), None if alpha is None else _frozen(1 - alpha), name)

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.pixels.shape[0])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the size and the pixels, in hexadecimal."""
        return hashlib.sha256(
            f"{self.height}x{self.width} float32 ".encode() + self.pixels.tobytes()
        ).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Whether the pixels are the same."""
        return isinstance(other, SourceImage) and self.digest == other.digest

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.digest)


def _frozen(array: NDArray[np.float32]) -> NDArray[np.float32]:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def read_image(path: Path, size: tuple[int, int] | None = None, fit: str = "crop") -> SourceImage:
    """The image in a file, or its first frame, upright as its EXIF data says, in sRGB.

    Args:
        path: an image file.
        size: (width, height) in pixels to bring it to; None keeps its own.
        fit: how, a key of `FITS`.

    Raises:
        InvalidImage: the file is missing, is not an image or is damaged.
    """
    return next(read_frames(path, [size], fit))


def read_frames(
    path: Path, sizes: Sequence[tuple[int, int] | None], fit: str = "crop"
) -> Iterator[SourceImage]:
    """The first frames of a file, one after the other, as `read_image` reads the first.

    Args:
        path: an image file.
        sizes: (width, height) in pixels to bring each to; as many frames are read.
        fit: how, a key of `FITS`.

    Raises:
        InvalidImage: a frame cannot be read; those before it came out.
    """
    with open_image(path) as image:
        for frame, size in enumerate(sizes):
            if frame:
                image.seek(frame)
                check_pixels(image, path)
            # Later frames of 16 bits are cut to 8: the file opened again stands at its first.
            reopen = None if frame else lambda: open_image(path)
            picture = decode(image, path.name, reopen)
            if size is not None:
                picture = _fitted(picture, size, fit)
            yield SourceImage._of_picture(picture, path.name)


def _fitted(picture: Picture, size: tuple[int, int], fit: str) -> Picture:
    """The picture brought to (width, height)."""
    if isinstance(picture, Image.Image):
        return picture if picture.size == size else FITS[fit](picture, size)
    if picture.shape[1::-1] == size:
        return picture
    # As Pillow resizes RGBA: multiplied with alpha, so that what cannot be seen lends no colour.
    alpha = picture[..., 3:] if picture.shape[2] == 4 else np.float32(1)
    bands = np.concatenate([picture[..., :3] * alpha, picture[..., 3:]], axis=2)
    fitted = [
        np.asarray(FITS[fit](Image.fromarray(bands[..., k]), size)) for k in range(bands.shape[2])
    ]
    result = np.stack(fitted, axis=2).clip(0, 1)
    if result.shape[2] == 4:
        alpha = result[..., 3:]
        np.divide(result[..., :3], alpha, out=result[..., :3], where=alpha > 0)
    return result.clip(0, 1)


def to_uint8(pixels: torch.Tensor) -> NDArray[np.uint8]:
    """Round pixels in 0..1 to 8 bits as diffusers does: halves to even.

    Args:
        pixels: (H, W, 3) float32 in 0..1.
    """
    return np.asarray(rounded(pixels).numpy())


def rounded(pixels: torch.Tensor) -> torch.Tensor:
    """As `to_uint8`, on the device that the pixels are on."""
    return (pixels * 255).round().byte()
