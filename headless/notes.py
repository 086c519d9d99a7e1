"""Where an error happened, without changing the error."""

from __future__ import annotations


def note(error: BaseException, text: str) -> None:
    """Add a note as Python 3.11's `add_note` does; newer Pythons print it in tracebacks."""
    vars(error).setdefault("__notes__", []).append(text)


def leave(error: BaseException, text: str) -> None:
    """Say what is there all the same; `left_by` reads it."""
    vars(error)["left"] = text


def left_by(error: BaseException) -> str:
    """What is there in spite of an error; empty for nothing said."""
    return str(vars(error).get("left", ""))


def notes_of(error: BaseException) -> list[str]:
    """The notes on an error, first added first."""
    return list(vars(error).get("__notes__", []))
