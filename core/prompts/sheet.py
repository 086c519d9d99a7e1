"""Excel's .xlsx -> rows. Needs openpyxl, which not everybody has."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from ..errors import InvalidPrompts, MissingPackage
from .rows import Row, fields, place
from .text_files import check_text

#: Bytes of all that a file unpacks to.
MAX_BYTES = 1 << 28

#: Excel keeps so many digits of a number.
_EXACT = 10**15

_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, ParseError),
)


def sheet_rows(path: Path, tell: Callable[[str], None]) -> Iterator[Row]:
    """The rows of the sheet that was open when the file was saved; its first row names the columns.

    Args:
        path: of the file.
        tell: takes which of several sheets it is.

    Raises:
        MissingPackage: openpyxl is not there.
        InvalidPrompts: the file cannot be read, or a value of it is not what was typed.
    """
    try:
        import openpyxl  # type: ignore[import-untyped]
    except ImportError:
        raise MissingPackage(
            "the package openpyxl to read Excel files",
            f"{path.name} without it",
            'pip install openpyxl, or save the file as "CSV UTF-8" in Excel.',
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_BYTES:
                raise ValueError("too much to unpack")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        if book.active is None:
            raise ValueError("no sheet of cells")
        table = [list(row) for row in book.active.iter_rows(values_only=True)]
        names, name = book.sheetnames, book.active.title
        book.close()
    except _ERRORS as error:
        raise InvalidPrompts(
            "an Excel file (.xlsx) that can be read",
            f"{path.name} ({type(error).__name__}: {error})",
            'Save it again, or as "CSV UTF-8".',
        ) from None
    if len(names) > 1:
        tell(f"{path.name}: of {len(names)} sheets, {name!r} is read, which was open when saved")
    yield from _rows(table, path.name)


def _rows(table: list[list[Any]], source: str) -> Iterator[Row]:
    lines = ((n, row) for n, row in enumerate(table, 1) if any(_text(cell, "") for cell in row))
    first, header = next(lines, (0, []))
    while header and header[-1] is None:
        header.pop()
    columns = fields(
        (_text(cell, source) for cell in header), lambda k: place(source, first, k + 1)
    )
    for line, row in lines:
        where = [place(source, line, k + 1) for k in range(len(row))]
        texts = [_text(cell, at) for cell, at in zip(row, where, strict=True)]
        if any(text.strip() for text in texts[len(columns) :]):
            raise InvalidPrompts(
                f"{len(columns)} cells, as in the header",
                f"{len(texts)} at {place(source, line, len(columns) + 1)}",
                "Name each column in the first row.",
            )
        places = {name: (line, k + 1) for k, name in enumerate(columns)}
        yield Row(source, line, dict(zip(columns, texts, strict=False)), places)


def _text(cell: object, where: str) -> str:
    """A cell as text, numbers as they were typed."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        cell = int(cell)
    if where and isinstance(cell, int | float) and abs(cell) >= _EXACT:
        raise InvalidPrompts(
            "a number of 15 digits at most in a cell of Excel",
            f"{cell} at {where}",
            "Excel has changed its last digits: give the column the format Text, type it again.",
        )
    return "" if cell is None else check_text(str(cell), where)
