"""JSON and JSON Lines -> rows.

A file holds a list, or (JSON Lines) an entry a line; an entry is a prompt or an object of fields.
A JSON object with a list called `prompts` is taken for that list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidPrompts
from .rows import Row, fields, place
from .text_files import Line, check_text

_BLANKS = {" ", "\t", "\n", "\r"}
_CHUNK = 1 << 16


class _Twice(ValueError):
    """An object says a name twice."""


def json_lines_rows(lines: Iterator[Line], source: str) -> Iterator[Row]:
    """A row of each line that is not empty.

    Raises:
        InvalidPrompts: a line is not JSON, or no prompt or object; the message names its place.
    """
    for line in lines:
        text = line.text.strip()
        if text:
            buffer = _Buffer(iter([line]), source, line.number)
            entry, at = buffer.value()
            yield _row(entry, source, *at)
            buffer.end()


def json_rows(lines: Iterator[Line], source: str) -> Iterator[Row]:
    """A row of each entry of a list, which is read piece by piece.

    Raises:
        InvalidPrompts: it is not JSON, or an entry is no prompt or object; the message names its
            place.
    """
    buffer = _Buffer(lines, source)
    first = buffer.sign()
    if first == "":
        return
    if first != "[":
        entry, at = buffer.value()
        buffer.end()
        if isinstance(entry, dict) and isinstance(entry.get("prompts"), list):
            for one in entry["prompts"]:
                yield _row(one, source, *at)
        else:
            yield _row(entry, source, *at)
        return
    buffer.skip("[")
    if buffer.sign() == "]":
        buffer.skip("]")
        buffer.end()
        return
    while True:
        entry, at = buffer.value()
        yield _row(entry, source, *at)
        if buffer.sign() == "]":
            buffer.skip("]")
            buffer.end()
            return
        buffer.skip(",")


def _row(entry: Any, source: str, line: int, column: int) -> Row:
    where = place(source, line, column)
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
    at = (line, column)
    return Row(
        source, line, dict(zip(names, entry.values(), strict=True)), dict.fromkeys(names, at)
    )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise _Twice
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


class _Buffer:
    """JSON text of which only what is needed for the next value is held."""

    def __init__(self, lines: Iterator[Line], source: str, first_line: int = 1) -> None:
        self._lines = lines
        self._source = source
        self._text = ""
        self._at = 0
        # Line and column of the sign at _known.
        self._known, self._line, self._column = 0, first_line, 1

    def sign(self) -> str:
        """The next sign that is no blank; empty at the end. Nothing is taken."""
        while True:
            while self._text[self._at : self._at + 1] in _BLANKS:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, sign: str) -> None:
        """Take that sign."""
        if self.sign() != sign:
            raise self._error(f"{sign!r} in a list", self._at)
        self._at += 1

    def end(self) -> None:
        """Refuse what follows."""
        if self.sign():
            raise self._error("the end of the JSON", self._at)

    def value(self) -> tuple[Any, tuple[int, int]]:
        """The next value, with its line and column."""
        self.sign()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                # A number at the very end may go on.
                if end < len(self._text) or not self._more():
                    position = self._position(self._at)
                    self._at = end
                    return value, position
            except _Twice:
                raise self._error("each name once in an object", self._at) from None
            except RecursionError:
                raise self._error("few lists and objects within each other", self._at) from None
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos + 16 > len(self._text)
                if not cut or not self._more():
                    raise self._error("JSON", error.pos) from None
            except ValueError:
                raise self._error("numbers of few digits", self._at) from None

    def _more(self) -> bool:
        """Read as much again as is held, so that a long value is not tried at every line."""
        self._position(self._at)
        parts = [self._text[self._at :]]
        wanted = max(len(parts[0]), _CHUNK)
        for line in self._lines:
            parts.append(line.text)
            wanted -= len(line.text)
            if wanted <= 0:
                break
        self._text = "".join(parts)
        self._at = self._known = 0
        return len(parts) > 1

    def _position(self, at: int) -> tuple[int, int]:
        breaks = self._text.count("\n", self._known, at)
        if breaks:
            self._line += breaks
            self._column = at - self._text.rfind("\n", self._known, at)
        else:
            self._column += at - self._known
        self._known = at
        return self._line, self._column

    def _error(self, expected: str, at: int) -> InvalidPrompts:
        got = self._text[at : at + 30].strip()
        line, column = self._position(at)
        return InvalidPrompts(
            expected,
            f"{got!r} at {place(self._source, line, column)}" if got else "the end of the file",
            "Correct that place.",
        )
