"""Pixels and texts -> image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from ..errors import OutputError
from .new_files import next_number, write_new
from .png16 import encode_png16
from .texts import JPEG_LIMIT, exif, fitting_exif, png_info


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: ending of the names.
        pillow: Pillow's name of it.
        bits: of a channel, 8 or 16.
        lossy: whether pixels may come back changed.
        options: of Pillow's writer. Colour is kept at full resolution wherever the format can.
    """

    suffix: str
    pillow: str
    bits: int = 8
    lossy: bool = False
    options: Mapping[str, Any] | None = None


#: By the names that a person chooses from.
FORMATS = {
    "png": Format(".png", "PNG"),
    "png 16 bit": Format(".png", "PNG", bits=16),
    "jpeg": Format(".jpg", "JPEG", lossy=True, options={"subsampling": "4:4:4"}),
    "webp": Format(".webp", "WEBP", lossy=True),
    "webp lossless": Format(".webp", "WEBP", options={"lossless": True, "exact": True}),
    "avif": Format(".avif", "AVIF", lossy=True, options={"subsampling": "4:4:4"}),
}


class Encoded(NamedTuple):
    """A file's content, and the names of the texts that there was no room for."""

    content: bytes
    left_out: tuple[str, ...]


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        OutputError: there is none, or Pillow here cannot write it.
    """
    form = FORMATS.get(name)
    if form is None:
        raise OutputError(f"a format: {', '.join(FORMATS)}", repr(name), "Choose one of them.")
    if name == "avif" and not features.check("avif"):
        raise OutputError(
            "a Pillow that writes AVIF",
            f"version {version('pillow')} without it",
            "Run `pip install --upgrade pillow`, or choose webp.",
        )
    return form


def encode(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    form: Format,
    texts: Mapping[str, str],
    quality: int = 90,
) -> Encoded:
    """The content of an image file.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 4) RGBA of the format's bits.
        form: the kind of file.
        texts: to store in it, the more important ones first; a JPEG has room for 64 KB.
        quality: 1 to 100, for the lossy ones.

    Raises:
        OutputError: the format cannot hold such an image.
    """
    height, width, channels = pixels.shape
    refused = OutputError(
        f"an image that {form.pillow} can hold",
        f"one of {width} x {height} pixels and {channels} channels",
        "Save it as png, in 3 channels or 4.",
    )
    if channels not in (3, 4):
        raise refused
    if form.bits == 16:
        return Encoded(encode_png16(pixels.astype(np.uint16, copy=False), texts), ())
    options = dict(form.options or {})
    left_out: tuple[str, ...] = ()
    if form.lossy:
        options["quality"] = quality
    if form.pillow == "PNG":
        options["pnginfo"] = png_info(texts)
    elif form.pillow == "JPEG":
        options["exif"], left_out = fitting_exif(texts, JPEG_LIMIT)
    else:
        options["exif"] = exif(texts)
    content = BytesIO()
    try:
        Image.fromarray(pixels).save(content, form.pillow, **options)
    except (OSError, ValueError) as error:  # too large for it, or transparent
        raise refused from error
    return Encoded(content.getvalue(), left_out)


def save_png(
    folder: Path, stem: str, pixels: NDArray[np.uint8], texts: PngInfo | None = None
) -> Path:
    """Write a PNG under the next free number; no file is ever replaced.

    Args:
        folder: made if it is not there.
        stem: name of the file without its ending, with `*` where the number goes.
        pixels: (H, W, 3) uint8.
        texts: to store in the file.

    Returns:
        The path of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG", pnginfo=texts)
    before, _, after = stem.rpartition("*")
    numbers = count(next_number(folder, before))
    return write_new(folder, (f"{before}{n:05}{after}.png" for n in numbers), content.getvalue())


def keeps_pixels(path: Path) -> bool:
    """Whether the pixels of a PNG, JPEG, WebP or AVIF file are those that it was written from.

    AVIF counts as lossy, whatever its settings: what it holds is not RGB.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF":
            return head.startswith(b"\x89PNG")
        while chunk := file.read(8):
            if chunk[:4] in (b"VP8 ", b"VP8L", b"ANMF"):
                return chunk[:4] == b"VP8L"
            size = int.from_bytes(chunk[4:], "little")
            file.seek(size + size % 2, 1)
    return False
