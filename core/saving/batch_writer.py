"""The images of a batch -> files, one by one as they are there, in any order."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..request.row import Row
from ..whole_files import clear_abandoned
from .new_files import write_new
from .planned_files import Place, PlannedFiles
from .room import check_folder, check_room
from .writer import Format, encode


class BatchWriter:
    """Writes images under names that are decided at the start.

    Attributes:
        files: that are written, or were there, by the index of their image.
        left_out: names of texts that files had no room for, and how often.
    """

    def __init__(
        self,
        places: Sequence[Place],
        form: Format,
        texts: Callable[[Row], Mapping[str, str]],
        *,
        quality: int,
        completes: bool,
    ) -> None:
        """Decide on the names; nothing is written yet.

        Args:
            places: where each image goes.
            form: kind of the files.
            texts: what a file says of the image of a record.
            quality: of lossy formats, 1 to 100.
            completes: whether an image whose file is there is left as it is.

        Raises:
            OutputError: a folder cannot be read or written to, or the disk has clearly too little
                room.
        """
        self.files: dict[int, Path] = {}
        self.left_out: Counter[str] = Counter()
        self._places = places
        self._form = form
        self._texts = texts
        self._quality = quality
        self._completes = completes
        self._planned = PlannedFiles(places, completes=completes)
        new: defaultdict[Path, list[Place]] = defaultdict(list)
        for index, one in enumerate(places):
            if index not in self._planned.there:
                new[one.folder].append(one)
        for folder, own in new.items():
            clear_abandoned(folder)
            check_folder(folder)
            sizes = ((one.record.request.width, one.record.request.height) for one in own)
            check_room(folder, sizes, lossy=form.lossy)

    def finished(self) -> set[int]:
        """Indices of images, as the engine makes them, whose files are there already.

        Not where the format is lossy or has 16 bits: what else such files were made with, they do
        not say.
        """
        if self._form.lossy or self._form.bits != 8:
            return set()
        for index in self._planned.there:
            self.files[index] = self._places[index].folder / next(self._planned.names(index))
        return self._planned.there

    def write(
        self,
        index: int,
        pixels: NDArray[np.uint8] | NDArray[np.uint16],
        record: Row | None = None,
    ) -> Path:
        """Write an image durably, in place of no other file.

        Args:
            index: of its place.
            pixels: as `encode` takes them.
            record: what the file says of its image; None for what was planned.

        Returns:
            The file; one that was there where it holds the same pixels.

        Raises:
            OutputError: it cannot be written.
        """
        place = self._places[index]
        texts = self._texts(record or place.record)
        content, missing = encode(pixels, self._form, texts, self._quality)

        def is_same(path: Path) -> bool:
            return self._completes and self._pixels(path.read_bytes()) == self._pixels(content)

        self.files[index] = write_new(place.folder, self._planned.names(index), content, is_same)
        self.left_out.update(missing)
        return self.files[index]

    def _pixels(self, content: bytes) -> Any:
        """What tells the pixels of two files apart."""
        if self._form.bits == 16:  # of which Pillow would read 8
            return [chunk for name, chunk in _chunks(content) if name == b"IDAT"]
        try:
            with Image.open(io.BytesIO(content)) as image:
                return image.mode, image.size, np.asarray(image).tobytes()
        except (OSError, ValueError, SyntaxError):
            return content


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of the chunks of a PNG file."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks
