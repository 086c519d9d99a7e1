"""What a person picks of a batch: text -> places.

    seed 3, 5      all images with one of these seeds; `seed 3..9` is a range
    #2, #4..6      by number, the first being 1
    "castle"       all whose prompt (without one, name) holds this text, capitals or not
    all            every one

Commas or new lines separate; a number alone goes on with what the one before it meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InvalidRequest
from .row import Row, words_of

_ITEM = re.compile(
    r"""\s*(?:
        (?P<all>all)
        | "(?P<text>[^"]*)"
        | (?P<kind>seeds?\s|\#)?\s*(?P<first>\d+)(?:\s*\.\.\s*\#?(?P<last>\d+))?
    )\s*(?:[,;\n]|$)""",
    re.VERBOSE | re.IGNORECASE,
)
_HELP = 'Write for example: seed 3, 5   or   #2, #4..6   or   "castle"   or   all.'


def select(text: str, rows: Sequence[Row]) -> list[int]:
    """Places of the images picked, counted from 0, in the order written, each once.

    Args:
        text: see the module.
        rows: one an image.

    Returns:
        None of them where the text is empty.

    Raises:
        InvalidRequest: what is picked is not there, or the text cannot be read.
    """
    picked: dict[int, None] = {}
    kind = ""
    written = text.rstrip().rstrip(",;").rstrip()
    start = len(written) - len(written.lstrip().lstrip(",;"))
    while start < len(written):
        item = _ITEM.match(written, start)
        if item is None:
            rest = written[start:].lstrip()
            at = len(written) - len(rest) + 1
            raise InvalidRequest("images to pick", f"{rest[:40]!r} at character {at}", _HELP)
        kind = (item["kind"] or kind).strip().lower()
        found = _find(item, kind, rows)
        if not found:
            raise InvalidRequest(
                "images to pick that are there",
                f"{item[0].strip(' ,;').strip()!r}, which is not",
                f"Click the images to keep, or pick one of these: {_there(item, kind, rows)}.",
            )
        picked |= dict.fromkeys(found)
        start = item.end()
    return list(picked)


def nothing_picked(rows: Sequence[Row]) -> InvalidRequest:
    """The error of an empty choice, for a program in which nobody can choose and go on."""
    there = [f"#{k}{_with_seed(row)}" for k, row in enumerate(rows, 1)]
    return InvalidRequest("images to pick", "an empty text", f"{_HELP} There are {_listed(there)}.")


def _with_seed(row: Row) -> str:
    return "" if row.request.seed is None else f" (seed {row.request.seed})"


def _find(item: re.Match[str], kind: str, rows: Sequence[Row]) -> list[int]:
    places = range(len(rows))
    if item["all"]:
        return list(places)
    if item["text"] is not None:
        wanted = item["text"].casefold()
        return [k for k in places if wanted in words_of(rows[k]).casefold()]
    first = int(item["first"])
    last = int(item["last"] or first)
    low, high = sorted((first, last))
    if kind.startswith("seed"):
        seeds = {k: seed for k in places if (seed := rows[k].request.seed) is not None}
        found = [k for k, seed in seeds.items() if low <= seed <= high]
        return sorted(found, key=lambda k: abs(seeds[k] - first))
    if kind == "#" and low >= 1 and high <= len(rows):
        return list(range(first - 1, last, 1) if first <= last else range(first - 1, last - 2, -1))
    return []


def _there(item: re.Match[str], kind: str, rows: Sequence[Row]) -> str:
    if item["text"] is not None:
        names = [repr(words_of(row)) for row in rows]
    elif kind.startswith("seed"):
        seeds = [row.request.seed for row in rows]
        names = [f"seed {seed}" for seed in seeds if seed is not None] or [f"#1..{len(rows)}"]
    elif kind == "#":
        return f"#1..{len(rows)}"
    else:
        return 'seed …, #… or "…" (a number needs `seed` or `#` before it)'
    return _listed(list(dict.fromkeys(names)))


def _listed(distinct: Sequence[str]) -> str:
    return ", ".join(distinct[:20]) + (f" and {len(distinct) - 20} more" * (len(distinct) > 20))
