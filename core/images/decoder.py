"""An opened image file -> its pixels: upright, sRGB, with the precision that the file has.

8 bits a channel stay 8 bits. 16 bits are kept for grey and colour PNG and TIFF, except where an ICC
profile other than sRGB's has to be applied, which is done in 8. What has more than 8 bits in AVIF,
HEIF, JPEG XL or JPEG 2000 is rounded to 8 by the library that reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from ..errors import InvalidImage
from .colour import is_srgb, to_srgb

#: Upright sRGB pixels: mode RGB or RGBA; or, of more than 8 bits, (H, W, 3 or 4) float32 in 0..1.
Picture = Image.Image | NDArray[np.float32]

#: Opens the same file once more.
Opener = Callable[[], AbstractContextManager[Image.Image]]

#: For each way that 16-bit colour lies in a file, the one that reads the other byte of each value.
#: Pillow keeps the high byte of colour only; read so, it keeps the low one.
_OTHER_BYTE = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
#: Grey with alpha is read as four bytes: both of the grey, both of the alpha.
_OTHER_BYTE["LA;16B"] = "RGBA"

#: Steps of grey in PNGs of 2 and 4 bits.
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def decode(image: Image.Image, name: str, reopen: Opener | None = None) -> Picture:
    """The pixels of the frame that the image stands at.

    Args:
        image: as Pillow opened it.
        name: for messages.
        reopen: opens the file again; without it, 16-bit colour is cut to 8 bits.

    Raises:
        InvalidImage: its numbers have no known range.
    """
    with _to_the_end():
        return _decode(image, name, reopen)


@contextmanager
def _to_the_end() -> Iterator[None]:
    """Have Pillow refuse files that are cut off, also where others let it fill them with grey."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decode(image: Image.Image, name: str, reopen: Opener | None) -> Picture:
    raw_mode = _raw_mode(image)
    step = _GREY_STEPS.get(raw_mode)
    if step and isinstance(image.info.get("transparency"), int):
        # Pillow spreads the grey over 0..255, but not the grey that stands for transparent.
        image.info["transparency"] *= step
    if image.mode.startswith("I;16"):
        upright = ImageOps.exif_transpose(image)
        return _deep(np.asarray(upright).astype(np.uint16)[..., None], upright, name)
    if raw_mode in _OTHER_BYTE and reopen is not None:
        upright = ImageOps.exif_transpose(image)
        with reopen() as again:
            assert isinstance(again, ImageFile.ImageFile)
            again.tile = [_read_other_byte(tile) for tile in again.tile]
            other = np.asarray(ImageOps.exif_transpose(again)).astype(np.uint16)
        if raw_mode == "LA;16B":
            values = other[..., 0::2] * 256 + other[..., 1::2]
        else:
            values = np.asarray(upright).astype(np.uint16) * 256 + other
        return _deep(values, upright, name)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F"):
        return _ranged(upright, name)
    if upright.mode == "1" and "transparency" in upright.info:
        # Pillow before 12 does not see it in images of one bit.
        clear = 255 if upright.info["transparency"] else 0
        upright = upright.convert("L")
        upright.info["transparency"] = clear
    return to_srgb(upright, name)


def to_float(picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(H, W, 3) float32 colours in 0..1, and (H, W) float32 alpha in 0..1 or None."""
    if isinstance(picture, Image.Image):
        rgb = np.asarray(picture.convert("RGB"), np.float32) / np.float32(255)
        if picture.mode == "RGB":
            return rgb, None
        return rgb, np.asarray(picture.getchannel("A"), np.float32) / np.float32(255)
    return picture[..., :3], picture[..., 3] if picture.shape[2] == 4 else None


def _raw_mode(image: Image.Image) -> str:
    """How the pixels lie in the file; empty if that is not known, or not the same everywhere."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    modes = {tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in tiles}
    mode = modes.pop() if len(modes) == 1 else None
    return mode if isinstance(mode, str) else ""


def _read_other_byte(tile: ImageFile._Tile) -> ImageFile._Tile:
    args = tile.args
    if isinstance(args, tuple):
        return tile._replace(args=(_OTHER_BYTE[args[0]], *args[1:]))
    assert isinstance(args, str)
    return tile._replace(args=_OTHER_BYTE[args])


def _deep(values: NDArray[np.uint16], upright: Image.Image, name: str) -> Picture:
    """Picture of (H, W, 1 to 4) 16-bit values: grey, grey and alpha, RGB or RGBA."""
    clear = upright.info.get("transparency")
    if clear is not None and values.shape[2] in (1, 3):
        opaque = (values != np.asarray(clear, np.uint16)).any(axis=2, keepdims=True)
        values = np.concatenate([values, opaque.astype(np.uint16) * 65535], axis=2)
    if not is_srgb(upright):
        return to_srgb(_shallow(values, upright), name)
    if values.shape[2] < 3:
        values = values[..., (0, 0, 0, 1) if values.shape[2] == 2 else (0, 0, 0)]
    return values.astype(np.float32) / np.float32(65535)


def _shallow(values: NDArray[np.uint16], upright: Image.Image) -> Image.Image:
    """16-bit values rounded to 8 bits, with the profile they came with."""
    bands = np.rint(values / 257).astype(np.uint8)
    mode = ("L", "LA", "RGB", "RGBA")[bands.shape[2] - 1]
    image = Image.merge(mode, [Image.fromarray(bands[..., k]) for k in range(bands.shape[2])])
    image.info["icc_profile"] = upright.info.get("icc_profile")
    return image


def _ranged(upright: Image.Image, name: str) -> Picture:
    """Grey of 32 bits: whole numbers as if they had 16, floating ones of 0..1."""
    values = np.asarray(upright)
    top = 65535 if upright.mode == "I" else 1
    if not (values.min() >= 0 and values.max() <= top):  # also true of NaN
        raise InvalidImage(
            f"grey values in 0..{top} in {name}",
            f"values from {values.min():.6g} to {values.max():.6g}",
            "Save it as a PNG of 8 or 16 bits.",
        )
    grey = values.astype(np.float32) / np.float32(top)
    return np.repeat(grey[..., None], 3, axis=2)
