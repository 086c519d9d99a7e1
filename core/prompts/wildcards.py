"""Wildcards and choices in prompts -> texts.

A draw depends on the seed, on the place in the text and on the values to choose from, and on
nothing else: not on the images around, not on how often something was drawn before. A place is
counted in choices, so that words may be changed without changing what is drawn.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, permutations, product
from pathlib import Path
from typing import NamedTuple

from ..errors import InvalidPrompts
from .variants import MAX_DEPTH, MAX_PICKS, Choice, Text, Wildcard, has_choices, parse
from .wildcard_files import WildcardFiles

#: Draws that one text may take, and variants that are counted exactly.
MAX_DRAWS = 10_000
COUNTED_UP_TO = 10**18


_parsed = lru_cache(maxsize=256)(parse)


class Measure(NamedTuple):
    """What a text can become.

    Attributes:
        depth: choices within choices.
        draws: the most draws that it takes.
        variants: number of its variants; COUNTED_UP_TO stands for that many or more.
    """

    depth: int
    draws: int
    variants: int


class Wildcards:
    """The values that may be drawn, as the files were when they were first asked for."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        """Nothing is read yet.

        Args:
            folders: hold `.txt`, `.yaml` and `.yml` files; a name is taken from the first folder
                that has it.
        """
        self._files = WildcardFiles(folders)
        self._measures: dict[str, Measure] = {}

    def measure(self, text: str, where: str) -> Measure:
        """How many variants a text has; after this, drawing from it cannot fail.

        Args:
            text: in the syntax of `core.prompts.variants`.
            where: what to call it in messages.

        Raises:
            InvalidPrompts: it cannot be read, or names a wildcard that does not exist, holds
                itself, or would take more than MAX_DRAWS draws.
        """
        if not has_choices(text):
            return Measure(0, 0, 1)
        measure = self._of_text(_parsed(text, where), where, (), 0)
        if measure.draws > MAX_DRAWS:
            raise InvalidPrompts(
                f"a text that takes at most {MAX_DRAWS:,} draws",
                f"one of more, in {where}",
                "Use fewer wildcards within wildcards.",
            )
        return measure

    def draw(self, text: str, seed: int, place: str = "") -> str:
        """One variant of a text, always the same for a seed.

        Args:
            text: one that `measure` accepts.
            seed: any whole number.
            place: tells apart texts of one row, such as prompt and negative prompt.

        Raises:
            InvalidPrompts: as `measure`.
        """
        if not has_choices(text):
            return text
        self.measure(text, "the prompt")
        return self._drawn(_parsed(text, "the prompt"), seed, place)

    def variants(self, text: str) -> Iterator[str]:
        """All variants of a text, the last choice changing fastest; see `measure` first."""
        if not has_choices(text):
            return iter((text,))
        return self._all(_parsed(text, "the prompt"))

    def digest(self) -> str:
        """SHA-256 over names and values of all wildcards that were asked for so far."""
        return self._files.digest()

    def read_all(self) -> None:
        """Ask for every wildcard there is.

        Raises:
            InvalidPrompts: a file cannot be read.
        """
        for name in self._files.names():
            self._files.values(Wildcard(name, 0), "the wildcards")

    # measuring

    def _of_text(self, text: Text, where: str, chain: tuple[str, ...], level: int) -> Measure:
        depth, draws, variants = 0, 0, 1
        for part in text:
            if not isinstance(part, str):
                one = self._of_part(part, where, chain, level + 1)
                depth = max(depth, one.depth)
                draws = min(draws + one.draws, COUNTED_UP_TO)
                variants = min(variants * one.variants, COUNTED_UP_TO)
        return Measure(depth, draws, variants)

    def _of_part(
        self, part: Wildcard | Choice, where: str, chain: tuple[str, ...], level: int
    ) -> Measure:
        if level > MAX_DEPTH:
            raise _too_deep(where)
        if isinstance(part, Choice):
            return self._of_options(self._opened(part, where), where, chain, level)
        name = part.name.casefold()
        if name in chain:
            raise InvalidPrompts(
                "wildcards that do not hold themselves",
                " -> ".join(f"__{one}__" for one in [*chain[chain.index(name) :], name]),
                "Take the last of them out of the values of the one before.",
            )
        if name not in self._measures:
            values = self._files.values(part, where)
            self._measures[name] = self._of_options(values, f"__{name}__", (*chain, name), level)
        if level + self._measures[name].depth > MAX_DEPTH + 1:
            raise _too_deep(where)
        return self._measures[name]

    def _of_options(
        self, choice: Choice, where: str, chain: tuple[str, ...], level: int
    ) -> Measure:
        listed, high = _listed(choice), _high(choice)
        each = [self._of_text(option, where, chain, level) for option in listed]
        draws = 1 + high * (1 + max(one.draws for one in each))
        return Measure(
            1 + max(one.depth for one in each),
            min(draws, COUNTED_UP_TO),
            _arrangements([one.variants for one in each], choice.low, high),
        )

    def _opened(self, choice: Choice, where: str) -> Choice:
        """The choice; where several of a single wildcard are asked for, of its values."""
        (first, *others) = choice.options
        alone = not others and len(first) == 1 and isinstance(first[0], Wildcard)
        if not alone or (choice.low, choice.high) == (1, 1):
            return choice
        assert isinstance(first[0], Wildcard)
        values = self._files.values(first[0], where)
        low, high = choice.low, _high(choice, len(values.options))
        if not low <= high <= min(MAX_PICKS, len(values.options)):
            raise InvalidPrompts(
                f"to take at most {min(MAX_PICKS, len(values.options))} of __{first[0].name}__",
                f"{low} to {high} at character {choice.at + 1} of {where}",
                "Correct the numbers before $$.",
            )
        return Choice(values.options, values.weights, low, high, choice.separator, choice.at)

    # drawing

    def _drawn(self, text: Text, seed: int, place: str) -> str:
        parts = []
        number = 0
        for part in text:
            if isinstance(part, str):
                parts.append(part)
                continue
            number += 1
            parts.append(self._chosen(part, seed, f"{place}.{number}"))
        return "".join(parts)

    def _chosen(self, part: Wildcard | Choice, seed: int, place: str) -> str:
        if isinstance(part, Wildcard):
            choice = self._files.values(part, "the prompt")
        else:
            choice = self._opened(part, "the prompt")
        low, high = choice.low, _high(choice)
        count = low + int(_fraction(seed, f"{place}#") * (high - low + 1))
        left, sums = list(range(len(choice.options))) if count > 1 else [], choice.cumulative
        texts = []
        for turn in range(count):
            at = bisect_right(sums, _fraction(seed, f"{place}/{turn}") * sums[-1])
            at = min(at, len(sums) - 1)
            index = left.pop(at) if left else at
            if turn + 1 < count:
                sums = tuple(accumulate(choice.weights[k] for k in left))
            texts.append(self._drawn(choice.options[index], seed, f"{place}/{turn}"))
        return choice.separator.join(texts)

    # listing

    def _all(self, text: Text) -> Iterator[str]:
        parts = [[part] if isinstance(part, str) else list(self._all_of(part)) for part in text]
        return ("".join(parts) for parts in product(*parts))

    def _all_of(self, part: Wildcard | Choice) -> Iterator[str]:
        if isinstance(part, Wildcard):
            choice = self._files.values(part, "the prompt")
        else:
            choice = self._opened(part, "the prompt")
        for count in range(choice.low, _high(choice) + 1):
            for options in permutations(_listed(choice), count):
                for texts in product(*(list(self._all(option)) for option in options)):
                    yield choice.separator.join(texts)


def _high(choice: Choice, available: int | None = None) -> int:
    """The most options that are taken."""
    if choice.high is not None:
        return choice.high
    return len(choice.options) if available is None else available


def _listed(choice: Choice) -> Sequence[Text]:
    """The options as variants: one that stands there twice is still one variant."""
    return choice.distinct if (choice.low, choice.high) == (1, 1) else choice.options


def _too_deep(where: str) -> InvalidPrompts:
    return InvalidPrompts(
        f"at most {MAX_DEPTH} choices within each other", f"more in {where}", "Use fewer."
    )


def _fraction(seed: int, place: str) -> float:
    """A number from 0 up to but not with 1, by SHA-256: the same on every machine and version."""
    digest = hashlib.sha256(f"batch-sdxl wildcards {seed} {place}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _arrangements(counts: Sequence[int], low: int, high: int) -> int:
    """The number of ways to put `low` to `high` options in a row, each of so many variants."""
    if low == high == 1:
        return min(sum(counts), COUNTED_UP_TO)
    # ways[k]: to take k of the options seen so far, in whatever order
    ways = [1] + [0] * high
    for count in counts:
        for k in range(high, 0, -1):
            ways[k] = min(ways[k] + ways[k - 1] * count, COUNTED_UP_TO)
    return min(sum(ways[k] * math.factorial(k) for k in range(low, high + 1)), COUNTED_UP_TO)
