"""What people write into prompts beside words.

(word)          a tenth more weight; brackets within brackets multiply
(word:1.2)      this weight, whatever the brackets around it say
\\( and \\)       brackets that are part of the text
embedding:name  a textual inversion, where it begins a word
BREAK           the rest starts a new part of 75 tokens

All but the last are ComfyUI's and mean what they mean there, for brackets without a partner too;
`tests/comfyui/test_prompts.py` measures it. BREAK is AUTOMATIC1111's; in ComfyUI it is a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import InvalidPrompts

#: What one pair of brackets without a number multiplies by.
_MORE = 1.1

_BREAK = re.compile(r"\bBREAK\b")
_BRACKET = re.compile(r"\\[()]|[()]")


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
    """The pieces of a prompt, in order; at least one, which may be empty.

    Raises:
        InvalidPrompts: a weight is infinite or not a number.
    """
    pieces: list[Piece] = []
    for text, weight in _weigh(prompt):
        plain = text.replace("\\(", "(").replace("\\)", ")")
        first, *others = _BREAK.split(plain)
        pieces.append(Piece(first, weight))
        pieces += [Piece(part, weight, starts_part=True) for part in others]
    return pieces or [Piece("")]


def _weigh(prompt: str) -> Iterator[tuple[str, float]]:
    """Stretches of text with their weights."""
    unread = [(stretch, 1.0) for stretch in reversed(_split(prompt))]
    while unread:
        text, weight = unread.pop()
        if text.startswith("(") and text.endswith(")") and not text.endswith("\\)"):
            inner, weight = _unwrap(text[1:-1], weight)
            unread += [(stretch, weight) for stretch in reversed(_split(inner))]
        else:
            yield text, weight


def _split(text: str) -> list[str]:
    """Cut a text around its outermost pairs of brackets, which stay with what is in them.

    A ) without a partner makes text of the next ( too, and a ( without one of all that follows;
    if that ends with a ), this is taken for the partner.
    """
    found, start, depth = [], 0, 0
    for bracket in _BRACKET.finditer(text):
        if bracket[0] == "(":
            if depth == 0:
                found.append(text[start : bracket.start()])
                start = bracket.start()
            depth += 1
        elif bracket[0] == ")":
            depth -= 1
            if depth == 0:
                found.append(text[start : bracket.end()])
                start = bracket.end()
    return [stretch for stretch in (*found, text[start:]) if stretch]


def _unwrap(text: str, around: float) -> tuple[str, float]:
    """What stood in a pair of brackets, without its number, and its weight.

    Any number of Python's counts, 1e1 and 1_0 too, as in ComfyUI.
    """
    words, _, number = text.rpartition(":")
    if not words:
        return text, around * _MORE
    try:
        weight = float(number)
    except ValueError:
        return text, around * _MORE
    if not math.isfinite(weight):
        raise InvalidPrompts(
            "finite weights", f"({text})", r"Give a number, or write \( and \) for plain brackets."
        )
    return words, weight
