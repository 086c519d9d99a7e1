"""What a model is made of, and the name of that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from .digest import digest_files


@dataclass(frozen=True)
class Contents:
    """The files of a model, and what was changed about it since.

    Attributes:
        root: folder that `files` are named below; a single file is its own root, so that its name
            makes no difference.
        files: weights and configurations.
        changes: a line for each thing that is not as in the files: another VAE, LoRAs.
    """

    root: Path
    files: tuple[Path, ...]
    changes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        files = digest_files(self.root, self.files)
        if not self.changes:
            return files
        return hashlib.sha256("\n".join([files, *self.changes]).encode()).hexdigest()

    def changed(self, *lines: str) -> Contents:
        """The same with further changes."""
        return replace(self, changes=(*self.changes, *lines))
