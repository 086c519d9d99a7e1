"""An image and its record <-> its file.

The file carries three kinds of text, which `texts` puts where each format has room for them:

`batch_sdxl`
    the record, JSON as `request/record.py` documents it.
`parameters`
    the same as the line that AUTOMATIC1111's web UI writes, which Civitai and most tools read.
`prompt`, `workflow`
    ComfyUI's graph, where one made the image: dropping the file on ComfyUI opens it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.PngImagePlugin import PngInfo

from ..errors import NotOurs, OutputError
from ..images.files import open_image
from ..request.parameters import parameters
from ..request.record import KEY, Record
from ..request.row import Row
from ..whole_files import write_whole
from .texts import png_info, texts_in
from .writer import FORMATS, encode

if TYPE_CHECKING:
    from ..engine.generated_image import GeneratedImage


def save(image: GeneratedImage, path: str | Path) -> Path:
    """Write an image as PNG, with what it was made from; `batch-sdxl verify` can check the file.

    Args:
        image: of `Engine.generate`.
        path: of the file, ending in .png. A file that is there is replaced.

    Returns:
        The path.

    Raises:
        OutputError: the name has another ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError("a name that ends in .png", str(path), "Rename it.")
    content, _ = encode(image.pixels, FORMATS["png"], file_texts(image.record, {}))
    try:
        write_whole(path, content)
    except (OSError, ValueError) as error:  # the latter of a name that cannot be
        raise OutputError(
            "to write an image", f"{path} ({error})", "Check the folder and the free space."
        ) from error
    return path


def file_texts(record: Row, graph: Mapping[str, Any]) -> dict[str, str]:
    """The texts of an image file by name, the more important ones first.

    Args:
        record: the row of the image; of one that is not ours, no record is written.
        graph: ComfyUI's entries by name (`prompt`, `workflow`); empty where there was none.
    """
    # No file can hold half a character, which names of files may; the record has it as an escape.
    readable = parameters(record).encode("utf-8", "replace").decode()
    own = {KEY: record.to_json()} if isinstance(record, Record) else {}
    own["parameters"] = readable
    return own | {name: json.dumps(value) for name, value in graph.items() if name not in own}


def png_texts(record: Record, graph: Mapping[str, Any]) -> PngInfo:
    """The texts of a PNG file, of what `file_texts` takes."""
    return png_info(file_texts(record, graph))


def read_record(path: Path) -> Record:
    """The record in an image file.

    Raises:
        NotOurs: there is none.
        InvalidImage: the file or its record cannot be read.
    """
    with open_image(path) as image:
        texts = texts_in(image)
    return record_in(texts, path)


def record_in(texts: Mapping[str, str], path: Path) -> Record:
    """The record among an image file's texts.

    Args:
        texts: of `texts.texts_in`.
        path: the file, for messages.

    Raises:
        NotOurs: there is none.
        InvalidImage: it cannot be read.
    """
    if KEY not in texts:
        raise NotOurs(
            f"an image with a {KEY} record",
            f"{path} without one",
            "Give a file that Save Image Batch wrote with rows: images of other samplers have "
            "none, and other programs may take it out.",
        )
    return Record.from_json(texts[KEY], path)
