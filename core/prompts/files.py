"""Prompt files of every kind -> rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import InvalidPrompts
from ..hashing import add_content
from .json_file import json_lines_rows, json_rows
from .pictures import image_row, image_rows
from .plain_text import text_rows
from .rows import Row
from .table import table_rows
from .text_files import read_lines

#: Kinds of files, by the end of the name.
SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".png")


def check_kind(path: Path) -> None:
    """Refuse a file whose name tells no kind that is known. It is not read.

    Raises:
        InvalidPrompts: it ends in none of SUFFIXES.
    """
    if not path.is_dir() and path.suffix.lower() not in SUFFIXES:
        raise InvalidPrompts(
            f"a prompt file that ends in {', '.join(SUFFIXES)}, or a folder of PNG files",
            repr(path.name),
            "Rename it to what it is.",
        )


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a prompt file, or of a folder of PNG files, one at a time.

    Raises:
        InvalidPrompts: it is of no kind that is known, or cannot be read; the message names file,
            line and column.
    """
    check_kind(path)
    name = path.name
    match path.suffix.lower():
        case _ if path.is_dir():
            return image_rows(path)
        case ".txt":
            return text_rows(lambda: read_lines(path), name)
        case ".csv":
            return table_rows(read_lines(path), name, ",;\t")
        case ".tsv":
            return table_rows(read_lines(path), name, "\t")
        case ".json":
            return json_rows(read_lines(path), name)
        case ".png":
            return iter([image_row(path)])
    return json_lines_rows(read_lines(path), name)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes; of a folder, of the names and bytes of its PNG files.

    Raises:
        InvalidPrompts: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(path.glob("*.[pP][nN][gG]")) if path.is_dir() else [path]
        for file in files:
            digest.update(file.name.encode() + b"\0")
            add_content(digest, file)
    except OSError as error:
        raise InvalidPrompts("a file that can be read", f"{path} ({error})", "Check it.") from None
    return digest.hexdigest()
