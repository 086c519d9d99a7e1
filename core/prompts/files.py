"""Prompt files of every kind, and folders of them -> rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from ..errors import InvalidPrompts
from ..images.files import is_image_name, natural
from . import pictures
from .json_file import json_kind, json_lines_rows, json_rows
from .plain_text import text_rows
from .rows import Row
from .sheet import sheet_rows
from .table import is_table, table_rows
from .text_files import tell, text_file
from .yaml_file import yaml_rows

#: Kinds of files, by the end of the name.
SUFFIXES = (
    *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".xlsx"),
    *pictures.SUFFIXES,
)


def check_kind(path: Path) -> None:
    """Refuse a file whose name tells no kind that is known. It is not read.

    Raises:
        InvalidPrompts: it ends in none of SUFFIXES.
    """
    if not path.is_dir() and path.suffix.lower() not in SUFFIXES:
        raise InvalidPrompts(
            f"a prompt file that ends in {', '.join(SUFFIXES)}, or a folder of pictures or texts",
            repr(path.name),
            "Save it as one of these; .xls and .ods as CSV.",
        )


def read_rows(
    path: Path,
    on_error: str = pictures.ON_ERROR[0],
    tell: Callable[[str], None] = tell,
) -> Iterator[Row]:
    """The rows of a prompt file, or of a folder, one at a time.

    A folder of pictures gives the captions beside them, else what they say they were made from; a
    folder without any, the prompts of its .txt files.

    Args:
        path: of a file or a folder.
        on_error: of `pictures.ON_ERROR`: what becomes of a picture without a prompt.
        tell: takes what was assumed and what is left out, a line at a time.

    Raises:
        InvalidPrompts: it is of no kind that is known, or cannot be read; the message names file,
            line and column.
        MissingPackage: it is of Excel, and openpyxl is not there.
    """
    check_kind(path)
    if path.is_dir():
        return _folder_rows(path, on_error, tell)
    suffix = path.suffix.lower()
    if suffix in pictures.SUFFIXES:
        return pictures.picture_rows([path], on_error, tell)
    if suffix == ".xlsx":
        return sheet_rows(path, tell)
    return _rows_of_text(path, suffix, tell)


def _rows_of_text(path: Path, suffix: str, tell: Callable[[str], None]) -> Iterator[Row]:
    name, lines = path.name, text_file(path, tell)
    if suffix == ".txt":
        if is_table(lines()):
            tell(f"{name} is read as a table: its first line names columns")
            return table_rows(lines(), name, "\t;,|")
        suffix = json_kind(lines())
        if not suffix:
            return text_rows(lines, name)
        tell(f"{name} is read as JSON")
    match suffix:
        case ".csv":
            return table_rows(lines(), name, ",;\t|")
        case ".tsv":
            return table_rows(lines(), name, "\t")
        case ".json":
            return json_rows(lines(), name)
        case ".yaml" | ".yml":
            return yaml_rows(lines(), name)
    return json_lines_rows(lines(), name)


def folder_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of a folder that its rows are of, and those that lie beside; in natural order.

    Raises:
        InvalidPrompts: the folder cannot be listed.
    """
    try:
        files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    except OSError as error:
        raise InvalidPrompts(
            "a folder that can be read", f"{folder} ({error})", "Check it."
        ) from None
    files.sort(key=natural)
    images = [path for path in files if is_image_name(path)]
    texts = [path for path in files if path.suffix.lower() in pictures.CAPTIONS]
    if images:
        captions = {pictures.caption_of(image) for image in images}
        return images, [path for path in texts if path not in captions]
    return [path for path in texts if path.suffix.lower() == ".txt"], []


def _folder_rows(folder: Path, on_error: str, tell: Callable[[str], None]) -> Iterator[Row]:
    files, beside = folder_files(folder)
    if not files:
        raise InvalidPrompts(
            "a folder of pictures that say their prompts, of pictures with captions, or of .txt "
            "files",
            f"none in {folder.name}",
            "Add them, or name one file.",
        )
    if beside:
        tell(f"left out, since no picture has their name: {', '.join(p.name for p in beside[:5])}")
    if is_image_name(files[0]):
        return pictures.picture_rows(files, on_error, tell)
    return chain.from_iterable(read_rows(file, on_error, tell) for file in files)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes; of a folder, of names and bytes of its pictures and texts.

    Raises:
        InvalidPrompts: it cannot be read.
    """
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files, beside = folder_files(path)
        captions = [one for one in map(pictures.caption_of, files) if one]
        files = [*files, *beside, *captions]
    try:
        for file in files:
            digest.update(file.name.encode("utf-8", "surrogateescape") + b"\0")
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError as error:
        raise InvalidPrompts("a file that can be read", f"{path} ({error})", "Check it.") from None
    return digest.hexdigest()
