"""Lists and times -> words for a person; a word that was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def counted(number: int, things: str) -> str:
    """`3 prompts`, `1 prompt`."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `16 s`, `3 min`, `2 h 5 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def abridged(items: Sequence[T], say: Callable[[T], str], most: int = 20) -> list[str]:
    """Each item as text, or so many of the first, the last one, and how many are left out.

    Args:
        items: any number.
        say: an item as one line.
        most: of the items shown, 2 or more.
    """
    if len(items) <= most:
        return [say(item) for item in items]
    left_out = len(items) - most
    return [
        *(say(item) for item in items[: most - 1]),
        f"… {left_out:,} more, not shown …",
        say(items[-1]),
    ]


def brief(value: object) -> str:
    """Any value as a person may be shown it: as Python writes it, cut where it is long."""
    try:
        said = repr(value)
    except Exception:  # of whatever object, and of whole numbers of more than 4,300 digits
        said = f"a {type(value).__name__}"
    return said if len(said) <= 100 else said[:97] + "..."


def meant(word: str, words: Iterable[str]) -> str:
    """`Did you mean "euler"?`, or nothing where no word is near.

    Args:
        word: what came; case, and blanks or signs between letters, make no difference.
        words: what there is.
    """
    import difflib

    by_letters = {_letters(one): one for one in words}
    matches = difflib.get_close_matches(_letters(word[:60]), by_letters, n=1, cutoff=0.7)
    near = matches[0] if matches else ""
    return f'Did you mean "{by_letters[near]}"?' if near else ""


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))
