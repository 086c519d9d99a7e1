"""The text in the lowest bits of a picture's alpha, which is left where others are taken out.

NovelAI writes it, and extensions of AUTOMATIC1111's web UI do: bits column by column, the mark
`stealth_pnginfo` (or `stealth_pngcomp`, for gzip), four bytes with the number of bits, the text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

_PLAIN, _PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
#: Bytes of mark and number, and of the longest text.
_HEAD, _MOST = len(_PLAIN) + 4, 1 << 22
_GZIP = 16 + zlib.MAX_WBITS


def alpha_texts(image: Image.Image) -> Mapping[str, str]:
    """The texts, by the names that a PNG would give them; none where there are none.

    Args:
        image: whose pixels are decoded if it has alpha.

    Raises:
        OSError: the pixels cannot be decoded.
        ValueError: the text is damaged.
    """
    if image.mode not in ("RGBA", "LA"):
        return {}
    columns = np.asarray(image.getchannel("A")).T
    few = columns[: 1 + 8 * _HEAD // max(columns.shape[1], 1)]
    head = np.packbits(few.ravel() & 1).tobytes()[:_HEAD]
    if not head.startswith((_PLAIN, _PACKED)):
        return {}
    end = _HEAD + int.from_bytes(head[len(_PLAIN) :], "big") // 8
    data = np.packbits(columns.ravel() & 1).tobytes()[_HEAD:end]
    if head.startswith(_PACKED):
        try:
            data = zlib.decompressobj(_GZIP).decompress(data, _MOST)
        except zlib.error as error:
            raise ValueError(f"a text in its alpha that is damaged: {error}") from None
    return _named(data[:_MOST].decode("utf-8", "replace"))


def _named(text: str) -> dict[str, str]:
    """What NovelAI would write as several texts, else the one of AUTOMATIC1111's web UI."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and isinstance(said.get("Comment"), str):
        return {name: one for name, one in said.items() if isinstance(one, str)}
    return {"parameters": text}
