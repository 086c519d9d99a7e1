"""Files that are there whole or not at all, whatever happens in the middle of writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

#: How names of files begin that are still being written; a kill can leave some behind.
PARTIAL = ".partial-"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, in place of one that is there.

    Once it returns, the file survives a crash of the machine; before, the old one does.

    Args:
        path: in a folder that is there.
        content: of the file.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    with _written(path.parent, content) as partial:
        partial.replace(path)


def write_beside(path: Path, content: bytes) -> bool:
    """Write a file that takes the place of none, as durable as `write_whole`.

    Args:
        path: in a folder that is there.
        content: of the file.

    Returns:
        Whether it was written; False where a file of that name is there.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists():
        return False
    with _written(path.parent, content) as partial:
        try:
            _take_name(partial, path)
        except FileExistsError:
            return False
    return True


def _take_name(partial: Path, path: Path) -> None:
    """Give a written file a name that no other has; FileExistsError if one has it."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems know no second name for a file. There the name is taken by an empty
        # file first, which a kill between this and the next line leaves behind.
        path.open("xb").close()
        partial.replace(path)


@contextmanager
def _written(folder: Path, content: bytes) -> Iterator[Path]:
    """A file of another name with the content, on the disk; gone after the block."""
    partial = folder / f"{PARTIAL}{uuid4().hex}"
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    _sync(folder)


def _sync(folder: Path) -> None:
    """Have the names of a folder on the disk; not every system can be asked for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
