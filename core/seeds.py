"""Seed expressions -> seeds, and a seed -> its generator.

7                   one seed
1, 5, 9             a list; commas or new lines separate, `# …` is a comment
100..115            a range, both ends included (115..100 counts down)
100..+16            sixteen seeds from 100 on
0..100 step 10      every tenth
7 * 4               seed 7 four times
random(8, from=7)   eight different 32-bit seeds, always the same eight for 7
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from .errors import InvalidSeeds

if TYPE_CHECKING:
    import torch

#: The largest seed torch takes.
MAX_SEED = 2**64 - 1

#: An expression that asks for more is taken for a slip of the keyboard.
MAX_COUNT = 1_000_000

_HELP = "Write for example: 7   or   1, 5, 9   or   100..115   or   random(8, from=7)."
_COMMENT = re.compile(r"#[^\n]*")
_SEPARATOR = re.compile(r"[,;\n]")
_INT = r"([+-]?\d+)"
_ITEMS = {
    "one": re.compile(_INT),
    "range": re.compile(rf"{_INT}\s*\.\.\s*{_INT}(?:\s+step\s+{_INT})?"),
    "repeat": re.compile(rf"{_INT}\s*\*\s*{_INT}"),
    "random": re.compile(rf"random\(\s*{_INT}\s*,\s*from\s*=\s*{_INT}\s*\)"),
}


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that an expression stands for, each 0 to 2**64 - 1, in the order written.

    Raises:
        InvalidSeeds: it holds no seed or cannot be read; the message gives line and column.
    """
    # Blanked out, not cut out, so that positions stay those of the text.
    blanked = _COMMENT.sub(lambda match: " " * len(match[0]), text)
    seeds: list[int] = []
    for start, item in _split(blanked):
        try:
            new = _read(item)
            if len(seeds) + len(new) > MAX_COUNT:
                raise ValueError(f"at most {MAX_COUNT:,} seeds")
        except ValueError as error:
            line = text.count("\n", 0, start) + 1
            column = start - (text.rfind("\n", 0, start) + 1) + 1
            raise InvalidSeeds(
                str(error), f"{item!r} at line {line}, character {column}", _HELP
            ) from None
        seeds.extend(new)
    if not seeds:
        raise InvalidSeeds("at least one seed", "none" if text.strip() else "an empty text", _HELP)
    return tuple(seeds)


def _split(text: str) -> list[tuple[int, str]]:
    """The items of a text, each with the place it starts at; commas in brackets do not split."""
    guarded = re.sub(r"\([^()\n]*\)", lambda match: "(" + "_" * (len(match[0]) - 2) + ")", text)
    items = []
    start = 0
    for end in [*(match.start() for match in _SEPARATOR.finditer(guarded)), len(text)]:
        item = text[start:end]
        if item.strip():
            items.append((start + len(item) - len(item.lstrip()), item.strip()))
        start = end + 1
    return items


def _read(item: str) -> range | list[int]:
    """The seeds of one item.

    Raises:
        ValueError: with what was expected.
    """
    if match := _ITEMS["one"].fullmatch(item):
        return [_seed(match[1])]
    if match := _ITEMS["range"].fullmatch(item):
        return _range(*match.groups())
    if match := _ITEMS["repeat"].fullmatch(item):
        return [_seed(match[1])] * _count(match[2])
    if match := _ITEMS["random"].fullmatch(item):
        return _random(_count(match[1]), _seed(match[2]))
    raise ValueError("a seed, a range like 100..115, 7 * 4, or random(8, from=7)")


def _seed(text: str) -> int:
    # Longer digits are refused before int() meets its own limit.
    value = int(text) if len(text) <= 21 else -1
    if not 0 <= value <= MAX_SEED:
        raise ValueError(f"a seed from 0 to {MAX_SEED}")
    return value


def _count(text: str) -> int:
    value = int(text) if len(text) <= 21 else -1
    if not 1 <= value <= MAX_COUNT:
        raise ValueError(f"a number of seeds from 1 to {MAX_COUNT:,}")
    return value


def _range(first: str, last: str, step: str | None) -> range:
    start, stride = _seed(first), 1 if step is None else int(step)
    if stride < 1:
        raise ValueError("a step of 1 or more (115..100 counts down by itself)")
    if last.startswith("+"):
        seeds = range(start, start + _count(last[1:]) * stride, stride)
        _seed(str(seeds[-1]))
        return seeds
    end = _seed(last)
    sign = 1 if end >= start else -1
    seeds = range(start, end + sign, sign * stride)
    _count(str(len(seeds)) if abs(end - start) // stride < MAX_COUNT else str(MAX_COUNT + 1))
    return seeds


def _random(count: int, origin: int) -> list[int]:
    """`count` different 32-bit seeds drawn by SHA-256, the same on every machine and version."""
    drawn: dict[int, None] = {}
    turn = 0
    while len(drawn) < count:
        digest = hashlib.sha256(f"batch-sdxl seeds {origin} {turn}".encode()).digest()
        drawn[int.from_bytes(digest[:4], "big")] = None
        turn += 1
    return list(drawn)


def make_generator(seed: int) -> torch.Generator:
    """A fresh CPU generator for one image: a seed draws the same noise whatever the device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)
