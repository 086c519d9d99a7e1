"""Files that a record names, found again by name and content."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .errors import BatchSDXLError, InvalidImage, ModelNotFound
from .images.source import FITS, SourceImage, read_frames
from .request.named import Named


class Places(Protocol):
    """Where a program has files of a name."""

    def model_path(self, name: str) -> Path:
        """Where a model lies."""

    def file_path(self, kind: str, name: str) -> Path:
        """Where a file lies; its kind is `vae`, `loras` or `embeddings`."""

    def input_folders(self) -> list[Path]:
        """Folders of input images."""

    def tokenizer_folders(self) -> list[Path]:
        """Folders with CLIP's tokenizer."""


class Here:
    """No folders at all: names are paths."""

    def model_path(self, name: str) -> Path:
        """The name."""
        return Path(name)

    def file_path(self, kind: str, name: str) -> Path:
        """The name."""
        return Path(name)

    def input_folders(self) -> list[Path]:
        """None."""
        return []

    def tokenizer_folders(self) -> list[Path]:
        """None."""
        return []


class Finder:
    """Looks beside an image, in given folders, and in those of the program."""

    def __init__(self, folders: Sequence[Path], places: Places) -> None:
        """Name the given folders, and the program's."""
        self._folders = folders
        self._places = places

    def image(self, wanted: Named, size: tuple[int, int], beside: Path) -> SourceImage:
        """The input image of a name whose pixels are the ones that were used.

        Args:
            wanted: its name and digest.
            size: width and height in pixels that it may have been brought to.
            beside: folder of the image that was made of it.

        Raises:
            InvalidImage: there is none.
        """
        # `clip.gif#3` is the third frame of clip.gif.
        file, frame = re.fullmatch(r"(.*?)(?:#([1-9]\d{0,4}))?", wanted.name, re.DOTALL).groups()  # type: ignore[union-attr]
        seen = 0
        for path in self._of_name(file, beside):
            seen += 1
            for image in _versions(path, int(frame or 1), size):
                if image.digest == wanted.digest:
                    return image
        raise InvalidImage(
            f"the input image {wanted.name} in {self._told(beside)}",
            f"{seen} of that name with other pixels" if seen else "none",
            "Put the image that was used there, or name its folder with --images.",
        )

    def weights(
        self, kind: str, name: str, sha256: str, beside: Path, digest: Callable[[Path], str]
    ) -> Path:
        """The file of a name and content, else of that name alone.

        Args:
            kind: of the program's folders: `vae`, `loras`, `embeddings`.
            name: of the file or folder.
            sha256: of its content.
            beside: folder of the image that was made with it.
            digest: path -> SHA-256 of the content.

        Raises:
            ModelNotFound: there is none of that name.
        """
        found = [*self._own(kind, name), *self._of_name(name, beside)]
        for path in found:
            with suppress(BatchSDXLError, OSError):
                if digest(path) == sha256:
                    return path
        if found:
            return found[0]
        raise ModelNotFound(
            f"{name}, with which the image was made, in {self._told(beside)}",
            "none",
            "Put it there, or name its folder with --images.",
        )

    def _own(self, kind: str, name: str) -> list[Path]:
        """The program's file of that name; some programs refuse what is not in their folders."""
        with suppress(ModelNotFound):
            own = self._places.file_path(kind, name)
            return [own] if own.exists() else []
        return []

    def _of_name(self, name: str, beside: Path) -> Iterator[Path]:
        last = glob.escape(Path(name).name)
        for way in (last, f"*/{last}"):
            for root in self._roots(beside) if last else []:
                yield from root.glob(way)

    def _roots(self, beside: Path) -> list[Path]:
        return [beside, *self._folders, *self._places.input_folders()]

    def _told(self, beside: Path) -> str:
        return ", ".join(map(str, dict.fromkeys(self._roots(beside))))


def _versions(path: Path, frame: int, size: tuple[int, int]) -> Iterator[SourceImage]:
    """A frame of a file as it is, and brought to a size in each of our ways."""
    ways: list[tuple[tuple[int, int] | None, str]] = [
        (None, "crop"),
        *((size, fit) for fit in FITS),
    ]
    for sides, fit in ways:
        # Another file of that name may be no image, or have fewer frames.
        with suppress(BatchSDXLError):
            *_, image = read_frames(path, [sides] * frame, fit)
            yield image
