"""Where an error happened, without changing the error."""

from __future__ import annotations


def note(error: BaseException, text: str) -> None:
    """Add a note as Python 3.11's `add_note` does; newer Pythons print it in tracebacks."""
    vars(error).setdefault("__notes__", []).append(text)


def notes_of(error: BaseException) -> list[str]:
    """The notes on an error, first added first."""
    return list(vars(error).get("__notes__", []))
