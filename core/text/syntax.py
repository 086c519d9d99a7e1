"""What people write into prompts beside words.

(word)          a tenth more weight; brackets within brackets multiply
(word:1.2)      this weight, whatever the brackets around it say
\\( and \\)       brackets that are part of the text
BREAK           the rest starts a new part of 75 tokens
embedding:name  a textual inversion

This is ComfyUI's reading (https://github.com/comfyanonymous/ComfyUI, comfy/sd1_clip.py,
token_weights), BREAK is AUTOMATIC1111's. A bracket without a partner is text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: What one pair of brackets without a number multiplies by.
_MORE = 1.1

_BREAK = re.compile(r"\bBREAK\b")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*")


class Piece(NamedTuple):
    """A stretch of text of one weight.

    Attributes:
        text: without brackets and weights.
        weight: 1 where nothing is said.
        starts_part: whether BREAK stands before it.
    """

    text: str
    weight: float = 1.0
    starts_part: bool = False


def parse(prompt: str) -> list[Piece]:
    """The pieces of a prompt, in order; at least one, which may be empty."""
    pieces: list[Piece] = []
    for text, weight in _weigh(prompt, 0, len(prompt), 1.0, _pairs(prompt)):
        plain = text.replace("\\(", "(").replace("\\)", ")")
        first, *others = _BREAK.split(plain)
        pieces.append(Piece(first, weight))
        pieces += [Piece(part, weight, starts_part=True) for part in others]
    return pieces or [Piece("")]


def _pairs(text: str) -> dict[int, int]:
    """Place of each opening bracket that has a partner -> the partner's place."""
    pairs, open_ones = {}, []
    for match in re.finditer(r"\\[()]|[()]", text):
        if match[0] == "(":
            open_ones.append(match.start())
        elif match[0] == ")" and open_ones:
            pairs[open_ones.pop()] = match.start()
    return pairs


def _weigh(
    text: str, start: int, end: int, weight: float, pairs: dict[int, int]
) -> list[tuple[str, float]]:
    """Text and weight of the stretches of text[start:end], which has this weight as a whole."""
    found, plain = [], start
    while start < end:
        close = pairs.get(start)
        if close is None:
            start += 1
            continue
        found.append((text[plain:start], weight))
        colon = text.rfind(":", start + 1, close)
        if colon > start + 1 and _NUMBER.fullmatch(text[colon + 1 : close]):
            found += _weigh(text, start + 1, colon, float(text[colon + 1 : close]), pairs)
        else:
            found += _weigh(text, start + 1, close, weight * _MORE, pairs)
        start = plain = close + 1
    found.append((text[plain:end], weight))
    return [(stretch, value) for stretch, value in found if stretch]
