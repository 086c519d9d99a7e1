"""What a person picks of a batch: text -> places.

    seed 3, 5      all images with one of these seeds; `seed 3..9` is a range
    #2, #4..6      by number, the first being 1
    "castle"       all whose prompt holds this text, capitals or not
    all            every one

Commas or new lines separate; a number alone goes on with what the one before it meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InvalidRequest
from .record import Record

_ITEM = re.compile(
    r"""\s*(?:
        (?P<all>all)
        | "(?P<text>[^"]*)"
        | (?P<kind>seeds?\s|\#)?\s*(?P<first>\d+)(?:\s*\.\.\s*\#?(?P<last>\d+))?
    )\s*(?:[,;\n]|$)""",
    re.VERBOSE | re.IGNORECASE,
)
_HELP = 'Write for example: seed 3, 5   or   #2, #4..6   or   "castle"   or   all.'


def select(text: str, records: Sequence[Record]) -> list[int]:
    """Places of the images picked, counted from 0, in the order written, each once.

    Args:
        text: see the module.
        records: one an image.

    Raises:
        InvalidRequest: nothing is picked, or it is not there; the message lists what is.
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
        found = _find(item, kind, records)
        if not found:
            raise InvalidRequest(
                f"something to pick of {_there(item, kind, records)}",
                f"{item[0].strip(' ,;').strip()!r}, which is not there",
                "Pick one of these.",
            )
        picked |= dict.fromkeys(found)
        start = item.end()
    if not picked:
        there = [f"#{k} (seed {record.request.seed})" for k, record in enumerate(records, 1)]
        raise InvalidRequest(f"something to pick of {_listed(there)}", "an empty text", _HELP)
    return list(picked)


def _find(item: re.Match[str], kind: str, records: Sequence[Record]) -> list[int]:
    places = range(len(records))
    if item["all"]:
        return list(places)
    if item["text"] is not None:
        wanted = item["text"].casefold()
        return [k for k in places if wanted in records[k].request.prompt.casefold()]
    first = int(item["first"])
    last = int(item["last"] or first)
    low, high = sorted((first, last))
    if kind.startswith("seed"):
        found = [k for k in places if low <= records[k].request.seed <= high]
        return sorted(found, key=lambda k: abs(records[k].request.seed - first))
    if kind == "#" and low >= 1 and high <= len(records):
        return list(range(first - 1, last, 1) if first <= last else range(first - 1, last - 2, -1))
    return []


def _there(item: re.Match[str], kind: str, records: Sequence[Record]) -> str:
    if item["text"] is not None:
        names = [repr(record.request.prompt) for record in records]
    elif kind.startswith("seed"):
        names = [f"seed {record.request.seed}" for record in records]
    elif kind == "#":
        return f"#1..{len(records)}"
    else:
        return 'seed …, #… or "…" (a number needs `seed` or `#` before it)'
    return _listed(list(dict.fromkeys(names)))


def _listed(distinct: Sequence[str]) -> str:
    return ", ".join(distinct[:20]) + (f" and {len(distinct) - 20} more" * (len(distinct) > 20))
