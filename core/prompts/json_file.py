"""JSON and JSON Lines -> rows.

A file holds a list, or (JSON Lines) an entry a line; an entry is a prompt or an object of fields.
A JSON object with a list called `prompts` is taken for that list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidPrompts
from .rows import Row, fields, place
from .text_files import Line, check_text

#: A list of texts or objects, or an object with a name.
_START = re.compile(r'\[\s*(?:$|"|\{\s*(?:$|"))|\{\s*"[^"]*"\s*:')


class _Twice(ValueError):
    """An object says a name twice."""


def json_kind(lines: Iterator[Line]) -> str:
    """Which JSON a text starts as, `.json` or `.jsonl`; empty for none.

    Braces alone tell nothing: prompts have them.
    """
    first = next((line.text.strip() for line in lines if line.text.strip()), "")
    if not _START.match(first):
        return ""
    return ".jsonl" if first[0] == "{" and first[-1] == "}" else ".json"


def json_lines_rows(lines: Iterator[Line], source: str) -> Iterator[Row]:
    """A row of each line that is not empty.

    Raises:
        InvalidPrompts: a line is not JSON, or no prompt or object; the message names its place.
    """
    for line in lines:
        if line.text.strip():
            yield entry_row(_parsed(line.text, source, line.number), source, line.number)


def json_rows(lines: Iterator[Line], source: str) -> Iterator[Row]:
    """A row of each entry of a list.

    Raises:
        InvalidPrompts: it is not JSON, or an entry is no prompt or object; the message names its
            place.
    """
    text = "".join(line.text for line in lines)
    if not text.strip():
        return
    entries = _parsed(text, source)
    if isinstance(entries, dict) and isinstance(entries.get("prompts"), list):
        entries = entries["prompts"]
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], 1):
        yield entry_row(entry, f"{source}, entry {number}")


def entry_row(entry: Any, source: str, line: int = 0) -> Row:
    """The row of a prompt or an object of fields.

    Raises:
        InvalidPrompts: it is neither, or says a field twice.
    """
    where = place(source, line, 1)
    if isinstance(entry, str):
        entry = {"prompt": entry}
    if not isinstance(entry, dict):
        raise InvalidPrompts(
            'a prompt or an object such as {"prompt": "a red circle", "seed": 5}',
            f"{'a list' if isinstance(entry, list) else json.dumps(entry)[:40]} at {where}",
            "Correct that entry.",
        )
    names = fields(entry, lambda _: where)
    for value in entry.values():
        if isinstance(value, str):
            check_text(value, where)
    return Row(source, line, dict(zip(names, entry.values(), strict=True)))


def _parsed(text: str, source: str, first_line: int = 1) -> Any:
    where = place(source, first_line, 1)
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        got = text[error.pos : error.pos + 30].strip()
        where = place(source, first_line + error.lineno - 1, error.colno)
        said = ("JSON", f"{got!r} at {where}" if got else f"the end of {source}")
    except _Twice as error:
        said = ("each name once in an object", f"{error} at {where}")
    except RecursionError:
        said = ("few lists and objects within each other", f"more at {where}")
    except ValueError:
        said = ("numbers of few digits", f"more at {where}")
    raise InvalidPrompts(*said, "Correct that place.")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)))
    return result
