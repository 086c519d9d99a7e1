"""What a model is made of, and the name of that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from .digest import digest_file, digest_files


@dataclass(frozen=True)
class Contents:
    """The files of a model, and what was changed about it since.

    Attributes:
        root: folder that `files` are named below; a single file is its own root.
        files: weights and configurations.
        changes: a line for each thing that is not as in the files: another VAE, LoRAs.
    """

    root: Path
    files: tuple[Path, ...]
    changes: tuple[str, ...] = ()

    @cached_property
    def files_digest(self) -> str:
        """SHA-256 of the files alone, in hexadecimal: of one its content, of several names too."""
        if self.files == (self.root,):
            return digest_file(self.root)
        return digest_files(self.root, self.files)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        if not self.changes:
            return self.files_digest
        lines = "\n".join([self.files_digest, *self.changes])
        return hashlib.sha256(lines.encode()).hexdigest()

    def changed(self, *lines: str) -> Contents:
        """The same with further changes."""
        return replace(self, changes=(*self.changes, *lines))
