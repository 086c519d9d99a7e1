"""CSV and TSV -> rows. The first line names the columns; cells with separators need quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, chain
from typing import NamedTuple

from ..errors import InvalidPrompts
from .rows import SYNONYMS, Row, fields, normal, place
from .text_files import Line

_SEPARATOR = re.compile(r'"?sep=([^"\n])"?\s*', re.IGNORECASE)


class Cells(NamedTuple):
    """Those of a row, with line and column of each."""

    texts: list[str]
    places: list[tuple[int, int]]


def table_rows(lines: Iterator[Line], source: str, delimiters: str) -> Iterator[Row]:
    """The rows of a table, one at a time; rows of empty cells are left out.

    Args:
        lines: of the file.
        source: its name, for messages.
        delimiters: those it may have; the one that finds most known columns is taken.

    Raises:
        InvalidPrompts: a row has more cells than the header names, a quote is not closed, or
            the header names a field twice; the message names its place.
    """
    first = next((line for line in lines if line.text.strip()), None)
    if first and (said := _SEPARATOR.fullmatch(first.text)):
        # Excel's own line, for itself.
        delimiters = said[1]
        first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    delimiter = max(delimiters, key=lambda sign: _known(first.text, sign))
    header = next(_rows_of_cells(chain([first], lines), source, delimiter))
    places = header.places
    names = fields(header.texts, lambda index: place(source, *places[index]))
    for cells in _rows_of_cells(lines, source, delimiter):
        if len(cells.texts) > len(names):
            raise InvalidPrompts(
                f"{len(names)} cells, as in the header",
                f"{len(cells.texts)} at {place(source, *cells.places[len(names)])}",
                f'Put cells that hold {delimiter!r} in quotes: "a, b".',
            )
        if any(cell.strip() for cell in cells.texts):
            # A row may end early: what it leaves out, it does not say.
            named = dict(zip(names, cells.texts, strict=False))
            yield Row(
                source, cells.places[0][0], named, dict(zip(names, cells.places, strict=False))
            )


def is_table(lines: Iterator[Line]) -> bool:
    """Whether a text starts as tables do: Excel's "Unicode Text" and others end in .txt too.

    The first line is Excel's own `sep=;`, or names columns: with tabs between, where one is the
    prompt's; with other signs, where all are known. One that has the prompt alone is called so,
    since a prompt of that one word is no prompt.
    """
    first = next((line.text for line in lines if line.text.strip()), "")
    if _SEPARATOR.fullmatch(first):
        return True
    for sign in "\t;|,":
        cells = [normal(cell.strip(' "\n')) for cell in first.split(sign)]
        named = [SYNONYMS.get(cell) for cell in cells]
        if len(cells) > 1 and "prompt" in named and (sign == "\t" or None not in named):
            return True
    return cells == ["prompt"]


def _known(header: str, delimiter: str) -> int:
    """How many of a header's names are known, if that is the delimiter."""
    return sum(normal(cell.strip(' "\n')) in SYNONYMS for cell in header.split(delimiter))


def _rows_of_cells(lines: Iterator[Line], source: str, delimiter: str) -> Iterator[Cells]:
    for line in lines:
        if '"' in line.text:
            yield _quoted(line, lines, source, delimiter)
        elif line.text.strip():
            texts = line.text.rstrip("\n").split(delimiter)
            starts = accumulate((len(cell) + 1 for cell in texts[:-1]), initial=1)
            yield Cells(texts, [(line.number, start) for start in starts])


def _quoted(line: Line, lines: Iterator[Line], source: str, delimiter: str) -> Cells:
    """The cells of a row with quotes, which may go on over the lines that follow."""
    cells = Cells([], [])
    at = 0
    while True:
        cells.places.append((line.number, at + 1))
        start = at
        while line.text.startswith(" ", start):
            start += 1
        if line.text.startswith('"', start):
            cell, line, at = _quoted_cell(line, start + 1, lines, source, delimiter)
        else:
            end = line.text.find(delimiter, at)
            end = len(line.text.rstrip("\n")) if end < 0 else end
            cell, at = line.text[at:end], end
        cells.texts.append(cell)
        if not line.text.startswith(delimiter, at):
            return cells
        at += 1


def _quoted_cell(
    line: Line, at: int, lines: Iterator[Line], source: str, delimiter: str
) -> tuple[str, Line, int]:
    """A cell from behind its opening quote on; its line and the place behind it."""
    opened = place(source, line.number, at)
    parts: list[str] = []
    while True:
        end = line.text.find('"', at)
        if end < 0:
            parts.append(line.text[at:])
            following = next(lines, None)
            if following is None:
                raise InvalidPrompts(
                    "quotes in pairs", f"a quote that is not closed at {opened}", "Close it."
                )
            line, at = following, 0
        elif line.text.startswith('"', end + 1):
            parts.append(line.text[at : end + 1])
            at = end + 2
        else:
            parts.append(line.text[at:end])
            rest = line.text.find(delimiter, end)
            rest = len(line.text.rstrip("\n")) if rest < 0 else rest
            if line.text[end + 1 : rest].strip():
                raise InvalidPrompts(
                    f"{delimiter!r} behind a quoted cell",
                    f"{line.text[end + 1 : rest][:30]!r} at {place(source, line.number, end + 2)}",
                    'Write quotes within a cell twice: "a 5"" disk".',
                )
            return "".join(parts), line, rest
