"""A file's content -> a hash."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Hash(Protocol):
    """One of hashlib's."""

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""


def add_content(digest: Hash, path: Path) -> None:
    """Take a file's bytes in, in pieces, whatever its size.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
