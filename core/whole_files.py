"""Files that are there whole or not at all, whatever happens in the middle of writing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows, which takes no file away that is open
    flock = None  # type: ignore[assignment]

#: How names of files begin that are still being written; a kill can leave some behind.
PARTIAL = ".partial-"
#: Seconds in which a new file is taken for one that its writer has not locked yet.
_NEW = 60


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


def clear_abandoned(folder: Path) -> None:
    """Take away what killed writers left half written in a folder; none that is at work is harmed.

    A writer holds a lock on its file, which ends with its process.

    Args:
        folder: need not be there.
    """
    with suppress(OSError):
        for path in [*folder.glob(f"{PARTIAL}*")]:
            with suppress(OSError), path.open("rb") as file:
                if time.time() - path.stat().st_mtime > _NEW:
                    _lock(file.fileno())
                    path.unlink()


def _lock(handle: int) -> None:
    """Lock a file until it is closed; OSError where another process has done so.

    Some file systems know no locks: there, files are judged by their age alone.
    """
    if flock is not None:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return


@contextmanager
def _written(folder: Path, content: bytes) -> Iterator[Path]:
    """A file of another name with the content, on the disk; gone after the block."""
    partial = folder / f"{PARTIAL}{uuid4().hex}"
    try:
        with partial.open("xb") as file:
            _lock(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # where open files keep their names
                file.close()
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
