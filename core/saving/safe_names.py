"""Text -> names that every file system takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

#: Most bytes of a name in UTF-8. File systems take 255: there is room for a number and an ending.
MOST_BYTES = 220

#: Where a number is filled in later.
NUMBER = "\0"

_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *([.:].*)?", re.IGNORECASE
)


def is_device(name: str) -> bool:
    """Whether Windows takes a name for a device: it does in any folder and with any ending."""
    return _DEVICE.fullmatch(name) is not None


def slug(text: str) -> str:
    """The words of a text in small letters, with - between them."""
    normal = unicodedata.normalize("NFC", text.casefold())
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in normal)
    return "-".join("".join(kept).split())


def safe_text(text: str, keep: str = "") -> str:
    """The text with _ in place of what not every system takes in a name.

    Args:
        text: any.
        keep: characters to leave as they are.
    """
    return "".join(c if c in keep or _is_safe(c) else "_" for c in text)


def _is_safe(character: str) -> bool:
    if character in '<>:"/\\|?*':
        return False
    # Not: control characters, also those that turn the direction of writing; halves of characters;
    # blanks that look like others.
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def safe_part(name: str) -> str:
    """A name of a file or folder that is neither a device of Windows nor changed by it."""
    name = name.rstrip(" .") or "_"
    return f"{name}_" if is_device(name.replace(NUMBER, "1")) else name


def shortened(pieces: Sequence[tuple[str, bool]]) -> str:
    """The pieces as one text, of `MOST_BYTES` if that is possible.

    Args:
        pieces: texts, and whether each may be cut; the longest ones are, first.
    """
    texts = [text for text, _ in pieces]
    cuttable = [place for place, (_, may_cut) in enumerate(pieces) if may_cut]
    while cuttable and len("".join(texts).encode()) > MOST_BYTES:
        longest = max(cuttable, key=lambda place: len(texts[place].encode()))
        if not texts[longest]:
            break
        texts[longest] = texts[longest][:-1]
    return "".join(texts)
