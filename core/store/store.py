"""Finished images on disk.

Because an image is a function of its request, its identity names it: an image that is here need
not be made again, by whoever made it. The folder holds

    v2/ab/abcdef….safetensors

one file an image, by the first two digits of its identity: its pixels, and the latents that they
were decoded from, for whoever goes on from there. The file system is the index: names are
keys, times are last uses, sizes are sizes. So nothing can be out of step with the files, any number
of processes can share a store, and there is no database to be damaged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..whole_files import PARTIAL, clear_abandoned, write_whole

#: Of the layout. Another version has a folder of its own, which older programs leave alone.
VERSION = "v2"
#: Bytes that a store takes at most, unless told otherwise: some 5,800 images of 1024 x 1024.
LIMIT = 20 * 1000**3
#: Share of the limit that is left after the oldest have made room.
ROOM = 0.9

_ENDING = ".safetensors"


class Stored(NamedTuple):
    """A finished image.

    Attributes:
        image: (H, W, 3): uint8, or float32 for the image as decoded.
        latents: (4, H/8, W/8) float32, as of `GeneratedImage`.
    """

    image: NDArray[np.generic]
    latents: NDArray[np.float32]


@dataclass(frozen=True)
class Usage:
    """What a store holds.

    Attributes:
        folder: where it lies.
        images: how many.
        size: bytes of them all.
        limit: most bytes.
    """

    folder: Path
    images: int
    size: int
    limit: int


class ImageStore:
    """Finished images by identity; those that were not used for longest make room for new ones."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Name the folder; it is made when the first image comes.

        Args:
            folder: of the store alone.
            limit: bytes that it may take.
        """
        self.folder = folder
        self.limit = limit
        self._images = folder / VERSION
        self._size: int | None = None

    def get(self, identity: str, *, unrounded: bool = False) -> Stored | None:
        """An image that is here whole, None for none.

        A file that is torn, was altered or has the name of another is taken away, so that its image
        is made again.

        Args:
            identity: of `request.identity`.
            unrounded: whether the image as decoded is wanted.
        """
        path = self._path(identity, unrounded)
        found = _read(path)
        if found is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)  # its last use
        return found

    def has(self, identity: str, *, unrounded: bool = False) -> bool:
        """Whether there is a file of an image, which `get` may still find torn."""
        return self._path(identity, unrounded).is_file()

    def put(self, identity: str, made: Stored, record: str) -> None:
        """Keep an image. Once this returns, it survives a crash.

        Args:
            identity: as for `get`.
            made: the image.
            record: what it was made from, as JSON.

        Raises:
            OutputError: it cannot be written.
        """
        path = self._path(identity, made.image.dtype != np.uint8)
        content = _packed(path.name, made, record)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            raise OutputError(
                "to keep a finished image",
                f"{path.parent} ({error})",
                "Check the folder and the free space, or run without a store.",
            ) from error
        self._grow(len(content), path)

    def usage(self) -> Usage:
        """What is here."""
        files = list(self._files())
        return Usage(self.folder, len(files), sum(size for _, size, _ in files), self.limit)

    def clear(self) -> Usage:
        """Take everything away, and say what it was."""
        before = self.usage()
        shutil.rmtree(self._images, ignore_errors=True)
        self._size = None
        return before

    def _path(self, identity: str, unrounded: bool) -> Path:
        ending = f".unrounded{_ENDING}" if unrounded else _ENDING
        return self._images / identity[:2] / f"{identity}{ending}"

    def _grow(self, added: int, new: Path) -> None:
        """Take note of a new file, and make room where there is too much."""
        if self._size is None:
            self._size = self.usage().size
        else:
            self._size += added
        if self._size > self.limit:
            self._make_room(new)

    def _make_room(self, new: Path) -> None:
        """Take the oldest away, but for a new one, which is the oldest where clocks went back."""
        files = sorted(self._files(), key=lambda file: file[2])
        size = sum(size for _, size, _ in files)
        for path, own, _ in files:
            if size <= ROOM * self.limit:
                break
            if path == new:
                continue
            with suppress(OSError):
                path.unlink()
                size -= own
        self._size = size

    def _files(self) -> Iterator[tuple[Path, int, float]]:
        """Path, bytes and last use of each image; what a crash left half is taken away."""
        with suppress(OSError):  # nothing yet, or taken away meanwhile
            for folder in list(self._images.iterdir()):
                clear_abandoned(folder)
                for path in list(folder.iterdir()):
                    with suppress(OSError):
                        if not path.name.startswith(PARTIAL):
                            status = path.stat()
                            yield path, status.st_size, status.st_mtime


def _packed(name: str, made: Stored, record: str) -> bytes:
    from safetensors.numpy import save

    tensors = {part: np.ascontiguousarray(tensor) for part, tensor in made._asdict().items()}
    whole = Stored(**tensors)
    return save(tensors, {"record": record, "sha256": _digest(name, whole, record)})


def _read(path: Path) -> Stored | None:
    """The image of a file, None where it is not there or not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            found = Stored(*map(file.get_tensor, Stored._fields))
            said = file.metadata() or {}
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        logging.getLogger(__name__).warning("%s is damaged and not used (%s)", path, error)
        return None
    if said.get("sha256") != _digest(path.name, found, said.get("record", "")):
        logging.getLogger(__name__).warning("%s was altered and is not used", path)
        return None
    return found


def _digest(name: str, made: Stored, record: str) -> str:
    """SHA-256 over a file's name and all that it says, in hexadecimal."""
    said = json.dumps([name, *((str(part.dtype), part.shape) for part in made), record])
    digest = hashlib.sha256(said.encode())
    for part in made:
        digest.update(part.tobytes())
    return digest.hexdigest()
