"""SHA-256 of files, remembered beside their size and time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, as others compute it too.

    It is kept in the user's cache folder, and taken from there while path, size and time of change
    are the same: gigabytes of weights are read once.
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
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._path = cache / "batch-sdxl" / "digests.json"
        try:
            self._known: dict[str, list[object]] = dict(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or damaged: it is only a memory
            self._known = {}
        self._grew = False

    def of(self, path: Path) -> str:
        status = path.stat()
        key, state = str(path.resolve()), [status.st_size, status.st_mtime_ns]
        entry = self._known.get(key, [])
        if entry[:2] != state:
            with path.open("rb") as file:
                entry = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
            self._known[key] = entry
            self._grew = True
        return str(entry[2])

    def save(self) -> None:
        if not self._grew:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(self._known), "utf-8")
            partial.replace(self._path)
        except OSError:  # a read-only home costs time, not the run
            return
