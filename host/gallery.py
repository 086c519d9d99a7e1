"""What the gallery of Select Images shows: files that the browser fetches.

A JPEG and a thumbnail for each image, and one JSON file that lists them:

    {"images": [{"file", "thumbnail", "width", "height", "seed", "prompt", "identity"}, ...]}

Names are digests of the contents. So another run with the same images writes nothing, a workflow
need hold no more than the name of the list to find its gallery again, and browsers can cache.

The pictures lie in a folder that the host may empty, the lists in one that stays: from them and
the store of finished images, pictures that are gone are written again when they are asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.images.source import to_uint8
from ..core.request.row import Row, words_of
from ..core.whole_files import write_beside

if TYPE_CHECKING:
    import torch

    from ..core.store.store import ImageStore

#: Most pixels across or down.
LARGE, SMALL = 2048, 320
#: Most lists that are kept; those that were not shown for longest are let go.
LISTS = 500

_LIST = re.compile(r"[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class GalleryFolders:
    """Where galleries lie.

    Attributes:
        pictures: may be emptied at any time.
        lists: stay.
    """

    pictures: Path
    lists: Path

    def write(self, images: Iterable[torch.Tensor], rows: Iterable[Row]) -> str:
        """Write what is not there yet.

        Args:
            images: each (H, W, 3) float32; what is not in 0..1 is shown as black or white.
            rows: one an image.

        Returns:
            The name of the list.

        Raises:
            OSError: a file cannot be written.
        """
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.lists.mkdir(parents=True, exist_ok=True)
        entries = [
            self._write_image(to_uint8(image[..., :3].clamp(0, 1))) | _said(row)
            for image, row in zip(images, rows, strict=True)
        ]
        text = json.dumps({"images": entries}, ensure_ascii=False).encode()
        name = f"{_digest(text)}.json"
        if not _write(self.lists / name, lambda file: file.write(text)):
            (self.lists / name).touch()
        self._let_go()
        return name

    def list(self, name: str) -> Path | None:
        """The file of a list, None where there is none of that name."""
        path = self.lists / name
        return path if _LIST.fullmatch(name) and path.is_file() else None

    def picture(self, name: str, file: str, store: ImageStore | None) -> Path | None:
        """A picture of a list, written again if it is gone; None where that can't be.

        Args:
            name: of the list.
            file: of the picture, as the list has it.
            store: of finished images.
        """
        path = self.list(name)
        if path is None:
            return None
        for entry in json.loads(path.read_text("utf-8"))["images"]:
            if file in (entry["file"], entry["thumbnail"]):
                picture = self.pictures / file
                if not picture.is_file() and store is not None:
                    self._restore(entry, store)
                return picture if picture.is_file() else None
        return None

    def _restore(self, entry: dict[str, Any], store: ImageStore) -> None:
        for unrounded in (False, True):
            kept = store.get(entry["identity"], unrounded=unrounded) if entry["identity"] else None
            # Another one where the image had gone through nodes before it was shown.
            if kept and _names(pixels := _rounded(kept.image)).items() <= entry.items():
                self.pictures.mkdir(parents=True, exist_ok=True)
                self._write_image(pixels)
                return

    def _let_go(self) -> None:
        files = [path for path in self.lists.iterdir() if _LIST.fullmatch(path.name)]
        if len(files) > LISTS:
            for path in sorted(files, key=lambda path: path.stat().st_mtime)[:-LISTS]:
                with suppress(OSError):
                    path.unlink()

    def _write_image(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        names = _names(pixels)
        picture = Image.fromarray(pixels)
        for key, side in _SIZES.items():
            _write(self.pictures / names[key], partial(_save, picture, side))
        return names


def batch_key(rows: Sequence[Row]) -> str:
    """What tells batches apart that a person may choose of: the prompts and seeds, in order."""
    return _digest(json.dumps([[words_of(row), row.request.seed] for row in rows]).encode())[:16]


def _said(row: Row) -> dict[str, str]:
    seed = row.request.seed
    return {
        # As text: in JavaScript, numbers beyond 2^53 lose their last digits.
        "seed": "" if seed is None else str(seed),
        "prompt": words_of(row),
        "identity": row.identity,
    }


_SIZES = {"file": LARGE, "thumbnail": SMALL}


def _names(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Size of an image, and the names of its pictures."""
    height, width = pixels.shape[:2]
    digest = _digest(f"{width}x{height} ".encode() + pixels.tobytes())
    entry: dict[str, Any] = {"width": width, "height": height}
    sides = {key: min(side, max(width, height)) for key, side in _SIZES.items()}
    return entry | {key: f"{digest}_{side}.jpg" for key, side in sides.items()}


def _rounded(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image of the store as it was shown."""
    import torch

    return image if image.dtype == np.uint8 else to_uint8(torch.from_numpy(image).clamp(0, 1))


def _save(picture: Image.Image, side: int, file: BinaryIO) -> None:
    shrunk = picture.copy()
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    shrunk.save(file, "JPEG", quality=92, subsampling=0)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """Write a file if it is not there, whole or not at all; whether it was not."""
    if path.exists():
        return False
    content = io.BytesIO()
    write(content)
    return write_beside(path, content.getvalue())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
