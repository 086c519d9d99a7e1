"""Text of any encoding and line ending -> lines, a file's one at a time."""

from __future__ import annotations

import codecs
import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import InvalidPrompts

#: Takes what a person should know of a source, where nobody else wants to.
tell = logging.getLogger("batch_sdxl").warning

#: Starts of files that tell their encoding; the longer one first where one starts another.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK = 1 << 16
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
#: A sign of UTF-8 beyond ASCII; in texts of other encodings few bytes are one by chance.
_UTF8_SIGN = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_LONG_RUN = re.compile(rb"[\x80-\xff]{4}")
#: What Windows saves where letters are not Latin.
_CODE_PAGES = ["cp1251", "gb18030", "cp932", "cp949", "big5"]


class Line(NamedTuple):
    """One line of a text.

    Attributes:
        text: with a line feed at its end, whatever the platform's ending was.
        number: from 1 on.
    """

    text: str
    number: int


def text_file(path: Path, tell: Callable[[str], None] = tell) -> Callable[[], Iterator[Line]]:
    """A file's lines, as often as they are asked for, never more than one in memory.

    Args:
        path: of the file.
        tell: takes what was assumed of its encoding.

    Raises:
        InvalidPrompts: it cannot be read, or (once its lines are asked for) is no text.
    """
    encoding = detect_encoding(path)
    if encoding not in {"utf-8", *_MARKS.values()}:
        tell(f"{path.name} is not UTF-8: read as {encoding}")
    return lambda: _lines(path, encoding)


def _lines(path: Path, encoding: str) -> Iterator[Line]:
    number = 0
    try:
        # A byte that is no text becomes half a sign, whose place is known.
        with path.open(encoding=encoding, errors="surrogateescape") as file:
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
    """A name that Python knows: of UTF-8, -16 or -32, else of what a system's programs save.

    A mark at the start tells, then the bytes. Windows-1252 is what is left: Excel saves it in
    Western countries.

    Raises:
        InvalidPrompts: it cannot be read.
    """
    chunk = b""
    try:
        with path.open("rb") as file:
            chunk = file.read(_CHUNK)
            for mark, encoding in _MARKS.items():
                if chunk.startswith(mark):
                    return encoding
            if b"\0" in chunk:
                return _unmarked_utf16(chunk) or "utf-8"
            decoder = codecs.getincrementaldecoder("utf-8")()
            while chunk:
                following = file.read(_CHUNK)
                decoder.decode(chunk, final=not following)
                chunk = following
    except UnicodeDecodeError:
        return _code_page(chunk)
    except OSError as error:
        raise InvalidPrompts("a file that can be read", f"{path} ({error})", "Check it.") from None
    return "utf-8"


def _unmarked_utf16(chunk: bytes) -> str | None:
    """UTF-16 of one byte order or the other, if the bytes are text in it.

    What is plain text but for a few zeros is that, and damaged.
    """
    with suppress(UnicodeDecodeError):
        plain = chunk.replace(b"\0", b"")
        if len(plain) > 0.75 * len(chunk) and not _CONTROL.search(plain.decode()):
            return None
    for encoding, zeros, others in (
        ("utf-16-le", chunk[1::2], chunk[::2]),
        ("utf-16-be", chunk[::2], chunk[1::2]),
    ):
        if b"\0" in zeros and b"\0" not in others and len(zeros) == len(others):
            with suppress(UnicodeDecodeError):
                if not _CONTROL.search(codecs.getincrementaldecoder(encoding)().decode(chunk)):
                    return encoding
    return None


def _code_page(chunk: bytes) -> str:
    """The encoding of bytes that are no Unicode; UTF-8 where most are, for it is damaged then.

    Western texts have few letters beyond ASCII in a row, and statistics take them for anything.
    """
    others, signs = _UTF8_SIGN.subn(b"", chunk)
    if signs >= sum(byte >= 0x80 for byte in others):
        return "utf-8"
    if _LONG_RUN.search(chunk):
        from charset_normalizer import from_bytes

        if found := from_bytes(chunk, cp_isolation=_CODE_PAGES).best():
            return found.encoding
    return "windows-1252"


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
                "text",
                f"half a sign at {where}, character {error.start + 1}",
                "Write it again, and save a file as UTF-8.",
            ) from None
    return text
