"""PNG of 16 bits a channel, which Pillow cannot write in colour."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .texts import png_info

if TYPE_CHECKING:
    import torch

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Channels -> PNG's colour type.
_COLOUR_TYPES = {3: 2, 4: 6}
_PAETH = 4


def to_uint16(pixels: torch.Tensor) -> NDArray[np.uint16]:
    """Round pixels in 0..1 to 16 bits, halves to even. Whole 255ths become multiples of 257.

    Args:
        pixels: (H, W, C) float32 in 0..1.
    """
    return (pixels.double() * 65535).round().numpy().astype(np.uint16)


def encode_png16(values: NDArray[np.uint16], texts: Mapping[str, str]) -> bytes:
    """The content of a PNG file.

    Args:
        values: (H, W, 3) RGB or (H, W, 4) RGBA.
        texts: to store in the file, by name.

    Source: the PNG specification, third edition: chunks §5, filters §9.
    """
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    pixels = values.astype(">u2").view(np.uint8).reshape(height, -1)
    lines = np.empty((height, pixels.shape[1] + 1), np.uint8)
    lines[:, 0] = _PAETH
    lines[:, 1:] = _paeth(pixels, 2 * channels)
    chunks = [
        (b"IHDR", header),
        *((name, data) for name, data, *_ in png_info(texts).chunks),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _paeth(pixels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Each byte less the one of its neighbours that comes nearest to left + up - corner.

    Args:
        pixels: (H, bytes of a line).
        step: bytes of a pixel.
    """
    height, length = pixels.shape
    framed = np.zeros((height + 1, length + step), np.int16)
    framed[1:, step:] = pixels
    left, up, corner = framed[1:, :-step], framed[:-1, step:], framed[:-1, :-step]
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    nearest = np.where(
        (by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner)
    )
    return (pixels - nearest).astype(np.uint8)
