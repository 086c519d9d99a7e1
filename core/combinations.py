"""Lists -> rows of one value from each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TypeVar

from .errors import InvalidRequest
from .wording import brief, counted

#: Ways to combine lists; see `combine`.
COMBINATIONS = ("zip", "product", "cycle")

#: Most seeds, prompts or images of one run: more are taken for a slip of the keyboard.
MOST = 1_000_000

T = TypeVar("T")


def combine(mode: str, **lists: Sequence[T]) -> list[tuple[T, ...]]:
    """Rows of one value from each list, in the lists' order.

    Args:
        mode: `zip`: the first with the first and so on, where a list of one serves for all;
            `product`: each with each, the last list running fastest;
            `cycle`: as many as the longest list, the others starting again at their ends.
        lists: their names are used in messages.

    Raises:
        InvalidRequest: a list is empty, their lengths do not fit a zip, or there would be more than
            `MOST` rows; the message names them.
    """
    if mode not in COMBINATIONS:
        raise InvalidRequest(
            "a way to combine", repr(mode), f"Choose one of {', '.join(COMBINATIONS)}."
        )
    for name, values in lists.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise InvalidRequest(f"a list of {name}", brief(values), f"Put {name} into a list.")
        if len(values) == 0:
            raise InvalidRequest(f"at least one of {name}", "none", f"Add to the list of {name}.")
    lengths = {name: len(values) for name, values in lists.items()}
    *most, last = (counted(length, name) for name, length in lengths.items())
    told = f"{', '.join(most)} and {last}" if most else last
    longest = max(lengths.values())
    if (rows := prod(lengths.values()) if mode == "product" else longest) > MOST:
        raise InvalidRequest(
            f"at most {MOST:,} images of one run",
            f"{rows:,} of {told} ({mode})",
            "Make them in several runs; each goes on where another stopped.",
        )
    if mode == "product":
        return list(product(*lists.values()))
    if mode == "zip" and not all(length in (1, longest) for length in lengths.values()):
        raise InvalidRequest(
            "lists of equal length (or of one entry, which serves for all)",
            told,
            "Even them out, or combine by product (each with each) or cycle (the shorter repeats).",
        )
    return [tuple(values[k % len(values)] for values in lists.values()) for k in range(longest)]
