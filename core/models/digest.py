"""SHA-256 of files, remembered beside what the file system says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ..user_cache import user_cache
from ..whole_files import write_whole


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, as others compute it too.

    It is kept in the user's cache folder, and taken from there while path, size, inode and the
    times of change of content and inode are the same: gigabytes of weights are read once. The last
    of these no program can set, so a file that was replaced is read again, whatever its dates say;
    what goes unnoticed is a disk that changes by itself.
    """
    remembered = _Memory()
    digest = remembered.of(path)
    remembered.save()
    return digest


def digest_files(root: Path, files: Sequence[Path]) -> str:
    """SHA-256 over the names below `root` and the `digest_file`s of files, in hexadecimal."""
    remembered = _Memory()
    lines = [f"{remembered.of(path)}  {path.relative_to(root).as_posix()}" for path in files]
    remembered.save()
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


class _Memory:
    def __init__(self) -> None:
        self._path = user_cache() / "digests.json"
        try:
            self._known: dict[str, list[object]] = dict(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or damaged: it is only a memory
            self._known = {}
        self._grew = False

    def of(self, path: Path) -> str:
        status = path.stat()
        key = str(path.resolve())
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        *known, last = self._known.get(key, [None])
        if known != state:
            with path.open("rb") as file:
                last = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[key] = [*state, last]
            self._grew = True
        return str(last)

    def save(self) -> None:
        if not self._grew:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._known).encode())
        except OSError:  # a read-only home costs time, not the run
            return
