"""Text of any encoding and line ending -> lines, a file's one at a time."""

from __future__ import annotations

import codecs
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import InvalidPrompts

_logger = logging.getLogger("batch_sdxl")

#: Starts of files that tell their encoding; the longer one first where one starts another.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK = 1 << 16


class Line(NamedTuple):
    """One line of a text.

    Attributes:
        text: with a line feed at its end, whatever the platform's ending was.
        number: from 1 on.
    """

    text: str
    number: int


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, never more than one in memory.

    Raises:
        InvalidPrompts: it cannot be read, or is no text.
    """
    encoding = detect_encoding(path)
    number = 0
    try:
        with path.open(encoding=encoding) as file:
            for number, text in enumerate(file, 1):
                yield Line(check_text(text, f"{path.name}:{number}"), number)
    except (OSError, UnicodeError) as error:
        raise InvalidPrompts(
            f"a text file in {encoding}", f"{path.name}:{number + 1} ({error})", "Save it as UTF-8."
        ) from None


def text_lines(text: str) -> Iterator[Line]:
    """The lines of a text.

    Raises:
        InvalidPrompts: a sign of it cannot be in a prompt.
    """
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        yield Line(check_text(line, f"line {number}"), number)


def detect_encoding(path: Path) -> str:
    """UTF-8, -16 or -32 by the mark at its start, else UTF-8 if it is that, else Latin-1.

    Raises:
        InvalidPrompts: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            for mark, encoding in _MARKS.items():
                if start.startswith(mark):
                    return encoding
            decoder = codecs.getincrementaldecoder("utf-8")()
            chunk = start
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(_CHUNK)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        _logger.warning("%s is not UTF-8: read as Latin-1", path.name)
        return "latin-1"
    except OSError as error:
        raise InvalidPrompts("a file that can be read", f"{path} ({error})", "Check it.") from None
    return "utf-8"


def check_text(text: str, where: str) -> str:
    """The text, if it can stand in a prompt and in a file.

    Raises:
        InvalidPrompts: it holds a zero byte, or half of a surrogate pair.
    """
    if "\0" in text:
        raise InvalidPrompts(
            "text",
            f"a zero byte at {where}, character {text.index(chr(0)) + 1}",
            "Save the file as UTF-8.",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidPrompts(
                "text", f"half a sign at {where}, character {error.start + 1}", "Write it again."
            ) from None
    return text
