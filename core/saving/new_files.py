"""Files that never take the place of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import OutputError
from ..whole_files import write_beside


def write_new(
    folder: Path,
    names: Iterable[str],
    content: bytes,
    is_same: Callable[[Path], bool] = lambda path: False,
) -> Path:
    """Write a file under the first of the names that is free, durably and whole or not at all.

    Args:
        folder: made if it is not there.
        names: without end.
        content: of the file.
        is_same: whether a file that has the name is as good.

    Returns:
        The path of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = folder / name
            if write_beside(path, content) or is_same(path):
                return path
    except OSError as error:
        raise unwritten(folder, error) from error
    raise AssertionError("names without end")


def next_number(folder: Path, before: str) -> int:
    """One more than the largest number that follows `before` in the names of a folder.

    Args:
        folder: need not be there.
        before: start of the names.

    Raises:
        OutputError: the folder cannot be read.
    """
    taken = re.compile(re.escape(before) + r"(\d+)")
    try:
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise unwritten(folder, error) from error
    return 1 + max((int(match[1]) for match in map(taken.match, names) if match), default=0)


def unwritten(folder: Path, error: OSError) -> OutputError:
    """The error of a folder that files cannot be written to."""
    return OutputError(
        "to write an image", f"{folder} ({error})", "Check the folder and the free space."
    )
