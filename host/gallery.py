"""What the gallery of Select Images shows: files that the browser fetches.

A JPEG and a thumbnail for each image, and one JSON file that lists them:

    {"images": [{"file", "thumbnail", "width", "height", "seed", "prompt"}, ...]}

Names are digests of the contents. So another run with the same images writes nothing, a workflow
need hold no more than the name of the list to find its gallery again, and browsers can cache.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from ..core.images.source import to_uint8
from ..core.whole_files import write_beside

if TYPE_CHECKING:
    import torch

    from ..core.request.record import Record

#: Below the host's folder.
FOLDER = "batch_sdxl"
#: Most pixels across or down.
LARGE, SMALL = 2048, 320


def write_gallery(temp: Path, images: Iterable[torch.Tensor], records: Iterable[Record]) -> str:
    """Write what is not there yet.

    Args:
        temp: the host's folder for such files.
        images: each (H, W, 3) float32; what is not in 0..1 is shown as black or white.
        records: one an image.

    Returns:
        The name of the list.

    Raises:
        OSError: a file cannot be written.
    """
    folder = temp / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        # As text: in JavaScript, numbers beyond 2^53 lose their last digits.
        _write_image(folder, image)
        | {"seed": str(record.request.seed), "prompt": record.request.prompt}
        for image, record in zip(images, records, strict=True)
    ]
    text = json.dumps({"images": entries}, ensure_ascii=False).encode()
    name = f"{_digest(text)}.json"
    _write(folder / name, lambda file: file.write(text))
    return name


def _write_image(folder: Path, image: torch.Tensor) -> dict[str, Any]:
    pixels = to_uint8(image[..., :3].clamp(0, 1))
    height, width = pixels.shape[:2]
    digest = _digest(f"{width}x{height} ".encode() + pixels.tobytes())
    picture = Image.fromarray(pixels)
    entry: dict[str, Any] = {"width": width, "height": height}
    for key, side in (("file", LARGE), ("thumbnail", SMALL)):
        entry[key] = name = f"{digest}_{min(side, max(width, height))}.jpg"
        _write(folder / name, partial(_save, picture, side))
    return entry


def _save(picture: Image.Image, side: int, file: BinaryIO) -> None:
    shrunk = picture.copy()
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    shrunk.save(file, "JPEG", quality=92, subsampling=0)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file if it is not there, whole or not at all."""
    if not path.exists():
        content = io.BytesIO()
        write(content)
        write_beside(path, content.getvalue())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
