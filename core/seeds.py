"""Seed expressions -> seeds, and a seed -> its generator.

7                   one seed
1, 5, 9             a list; commas or new lines separate, `# …` is a comment
100..115            a range, both ends included (115..100 counts down)
100..+16            sixteen seeds from 100 on
0..100 step 10      every tenth
7 * 4               seed 7 four times
random(8, from=7)   eight different 32-bit seeds, always the same eight for 7
-1                  one that is drawn, and not written down; -1 * 4 draws four
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from .combinations import MOST
from .errors import InvalidSeeds

if TYPE_CHECKING:
    import torch

#: The largest seed torch takes.
MAX_SEED = 2**64 - 1

_HELP = "Write for example: 7   or   1, 5, 9   or   100..115   or   random(8, from=7)."
_COMMENT = re.compile(r"#[^\n]*")
_BLANKS = re.compile(r"[^\S\n]*")
_INT = re.compile(r"[+-]?[0-9]+")
_END = re.compile(r"[,;\n]|\Z")
_DRAW = re.compile(r"-1(?![0-9])")


class _Item(NamedTuple):
    """One item of an expression.

    Attributes:
        start: characters before it.
        end: characters up to its end.
        seeds: that it stands for; empty when they are to be drawn.
        drawn: how many are to be drawn.
    """

    start: int
    end: int
    seeds: Sequence[int]
    drawn: int = 0


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that an expression stands for, each 0 to 2**64 - 1, in the order written.

    Raises:
        InvalidSeeds: it holds no seed, cannot be read, or holds a -1 that `fix_seeds` has not
            replaced; the message gives line and character.
    """
    items = list(_Reader(text).items())
    for item in items:
        if item.drawn:
            raise _error(text, item.start, f"a seed from 0 to {MAX_SEED}", "Draw it first.")
    return tuple(seed for item in items for seed in item.seeds)


def fix_seeds(text: str, origin: str = "") -> str:
    """The expression with a drawn seed for each -1: what it says is what was drawn.

    Args:
        text: the expression.
        origin: what to draw by: the same seeds for the same text. Empty: others each time.

    Raises:
        InvalidSeeds: as `parse_seeds`.
    """
    source = _numbers(f"-1 {origin}") if origin else _fresh()
    seen: set[int] = set()
    parts = []
    at = 0
    for item in _Reader(text).items():
        if item.drawn:
            drawn = _different(item.drawn, source, seen)
            parts += [text[at : item.start], ", ".join(map(str, drawn))]
            at = item.end
    return "".join([*parts, text[at:]])


def count_seeds(text: str) -> int:
    """How many seeds an expression stands for, those to be drawn included.

    Raises:
        InvalidSeeds: as `parse_seeds`.
    """
    return sum(item.drawn or len(item.seeds) for item in _Reader(text).items())


def draws_seeds(text: str) -> bool:
    """Whether an expression holds a -1, and so does not say all of its seeds.

    Raises:
        InvalidSeeds: as `parse_seeds`.
    """
    return any(item.drawn for item in _Reader(text).items())


def next_seeds(seeds: Sequence[int], batch: int) -> tuple[int, ...]:
    """The seeds of a later batch: each rises by the number of seeds, so that none comes twice.

    Args:
        seeds: of batch 0, so `1..4`.
        batch: 0 or more: 1 gives `5..8`. Beyond 2**64 - 1 they go on from 0.
    """
    rise = batch * len(seeds)
    return tuple((seed + rise) % (MAX_SEED + 1) for seed in seeds)


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Blanked out, not cut out, so that places stay those of the text.
        self._bare = _COMMENT.sub(lambda match: " " * len(match[0]), text)
        self._at = 0

    def items(self) -> Iterator[_Item]:
        """The items in order; at least one."""
        total = 0
        while True:
            start = self._blanks()
            if not _END.match(self._bare, start):
                item = self._item()
                if not _END.match(self._bare, self._blanks()):
                    raise self._error("a comma, a new line, or .. or * behind a seed")
                total += item.drawn or len(item.seeds)
                if total > MOST:
                    self._at = start
                    raise self._error(f"at most {MOST:,} seeds")
                yield item
            if self._at >= len(self._bare):
                break
            self._at += 1
        if not total:
            got = "none" if self._text.strip() else "an empty text"
            raise InvalidSeeds("at least one seed", got, _HELP)

    def _item(self) -> _Item:
        start = self._at
        seeds: Sequence[int] = ()
        drawn = 0
        if self._takes("random"):
            seeds = self._random()
        elif _DRAW.match(self._bare, start):
            self._at += 2
            drawn = self._count() if self._takes("*") else 1
        else:
            first = self._seed()
            if self._takes(".."):
                seeds = self._range(first)
            else:
                seeds = [first] * (self._count() if self._takes("*") else 1)
        return _Item(start, self._at, seeds, drawn)

    def _range(self, first: int) -> range:
        at = self._blanks()
        if self._bare.startswith("+", at):
            self._at += 1
            count = self._count()
            step = self._step()
            seeds = range(first, first + count * step, step)
            if seeds[-1] > MAX_SEED:
                self._at = at
                raise self._error(f"seeds up to {MAX_SEED}")
            return seeds
        last = self._seed()
        step = self._step()
        if abs(last - first) // step >= MOST:
            self._at = at
            raise self._error(f"a number of seeds from 1 to {MOST:,}")
        sign = 1 if last >= first else -1
        return range(first, last + sign, sign * step)

    def _step(self) -> int:
        if not self._takes("step"):
            return 1
        return self._number(1, MAX_SEED, "a step of 1 or more (115..100 counts down by itself)")

    def _random(self) -> list[int]:
        self._needs("(")
        count = self._count()
        for sign in (",", "from", "="):
            self._needs(sign)
        origin = self._seed()
        self._needs(")")
        return _random(count, origin)

    def _seed(self) -> int:
        return self._number(0, MAX_SEED, f"a seed from 0 to {MAX_SEED}")

    def _count(self) -> int:
        return self._number(1, MOST, f"a number of seeds from 1 to {MOST:,}")

    def _number(self, least: int, most: int, said: str) -> int:
        match = _INT.match(self._bare, self._blanks())
        # Longer digits are refused before int() meets its own limit.
        number = int(match[0]) if match and len(match[0]) <= 40 else None
        if match is None or number is None or not least <= number <= most:
            raise self._error(said)
        self._at = match.end()
        return number

    def _blanks(self) -> int:
        """Pass blanks; the place behind them."""
        match = _BLANKS.match(self._bare, self._at)
        assert match
        self._at = match.end()
        return self._at

    def _takes(self, sign: str) -> bool:
        """Pass a sign, if it is the next."""
        at = self._at
        if self._bare.startswith(sign, self._blanks()):
            self._at += len(sign)
            return True
        self._at = at
        return False

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            self._blanks()
            raise self._error(f"{sign!r}, as in random(8, from=7)")

    def _error(self, expected: str) -> InvalidSeeds:
        return _error(self._text, self._at, expected, _HELP)


def _error(text: str, at: int, expected: str, action: str) -> InvalidSeeds:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    rest = re.split(r"[,;\n#]", text[at:], maxsplit=1)[0].strip()
    said = repr(rest if len(rest) <= 40 else f"{rest[:37]}...") if rest else "nothing"
    return InvalidSeeds(expected, f"{said} at line {line}, character {column}", action)


def _random(count: int, origin: int) -> list[int]:
    """`count` different 32-bit seeds, the same on every machine and version."""
    return _different(count, _numbers(str(origin)), set())


def _different(count: int, source: Iterable[int], seen: set[int]) -> list[int]:
    """The next numbers of a source that were not seen yet."""
    drawn: list[int] = []
    for seed in source:
        if seed not in seen:
            seen.add(seed)
            drawn.append(seed)
            if len(drawn) == count:
                break
    return drawn


def _fresh() -> Iterator[int]:
    """32-bit numbers that nobody can foresee; no global generator is touched."""
    while True:
        yield secrets.randbits(32)


def _numbers(origin: str) -> Iterator[int]:
    """32-bit numbers drawn by SHA-256."""
    for turn in count():
        digest = hashlib.sha256(f"batch-sdxl seeds {origin} {turn}".encode()).digest()
        yield int.from_bytes(digest[:4], "big")


def make_generator(seed: int) -> torch.Generator:
    """A fresh CPU generator for one image: a seed draws the same noise whatever the device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)
