"""Files that never take the place of another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError


def write_new(folder: Path, names: Iterable[str], content: bytes) -> Path:
    """Write a file under the first of the names that is free.

    Args:
        folder: made if it is not there.
        names: without end.
        content: of the file; if not all of it can be written, none is left.

    Returns:
        The path of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            try:
                file = (folder / name).open("xb")
            except FileExistsError:
                continue
            try:
                with file:
                    file.write(content)
            except BaseException:
                (folder / name).unlink(missing_ok=True)
                raise
            return folder / name
    except OSError as error:
        raise _unwritten(folder, error) from error
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
        raise _unwritten(folder, error) from error
    return 1 + max((int(match[1]) for match in map(taken.match, names) if match), default=0)


def _unwritten(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        "to write an image", f"{folder} ({error})", "Check the folder and the free space."
    )
