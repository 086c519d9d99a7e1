"""LoadImageBatch: a folder -> images."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import BatchSDXLError, InvalidImage
from ..core.images import FITS, list_images, read_image
from .batches import to_batches
from .paths import find_input
from .types import Inputs, Node

if TYPE_CHECKING:
    import torch


class LoadImageBatch(Node):
    """Loads the images of a folder."""

    DESCRIPTION = (
        "Loads the images of a folder in natural order (1, 2, 10), upright, as RGB. The folder is "
        "looked up in ComfyUI's input folder; `input_images` comes with the pack. Images of one "
        "size come out as one batch, of different sizes as several."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["load images", "image folder", "directory", "img2img"]
    RETURN_TYPES = ("IMAGE", "MASK", "STRING", "INT")
    RETURN_NAMES = ("images", "masks", "names", "count")
    OUTPUT_IS_LIST = (True, True, True, False)
    OUTPUT_TOOLTIPS = (
        "The images.",
        "Where an image is transparent; all zero for a file without alpha.",
        "Names of the files.",
        "How many they are.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        size = {"default": 0, "min": 0, "max": 16384, "step": 8}
        return {
            "required": {
                "folder": (
                    "STRING",
                    {
                        "default": "input_images",
                        "tooltip": "A folder below ComfyUI's input folder (headless: below the "
                        "workflow's or the working folder).",
                    },
                ),
                "width": ("INT", {**size, "tooltip": "Pixels; 0 keeps each image's own size."}),
                "height": ("INT", {**size, "tooltip": "Pixels; 0 keeps each image's own size."}),
                "fit": (
                    list(FITS),
                    {
                        "tooltip": "How to bring an image to width and height: crop cuts off what "
                        "is over, pad adds black edges, stretch changes its shape."
                    },
                ),
                "limit": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 100_000,
                        "tooltip": "Load so many of the first images; 0 loads all.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(
        cls, folder: str | None, width: int | None, height: int | None
    ) -> bool | BatchSDXLError:
        """Refuse a missing folder, or half a size, before anything runs."""
        try:
            if folder is not None:
                list_images(find_input(folder))
            if width is not None and height is not None:
                _size(width, height)
        except BatchSDXLError as error:
            return error
        return True

    @classmethod
    def IS_CHANGED(cls, folder: str | None, limit: int | None = 0, **other: Any) -> str:
        """SHA-256 over the names and the bytes of the files."""
        digest = hashlib.sha256()
        for path in list_images(find_input(folder))[: limit or None] if folder else []:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def run(
        self, folder: str, width: int, height: int, fit: str, limit: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[str], int]:
        """Read the files."""
        import torch

        size = _size(width, height)
        paths = list_images(find_input(folder))[: limit or None]
        sources = [read_image(path, size, fit) for path in paths]
        images = [torch.from_numpy(source.pixels.copy()) for source in sources]
        masks = [
            torch.zeros(s.height, s.width) if s.mask is None else torch.from_numpy(s.mask.copy())
            for s in sources
        ]
        names = [source.name for source in sources]
        return to_batches(images), to_batches(masks), names, len(names)


def _size(width: int, height: int) -> tuple[int, int] | None:
    if (width == 0) != (height == 0) or min(width, height) < 0:
        raise InvalidImage(
            "width and height both 0 (each image's own size) or both set",
            f"{width} x {height}",
            "Set the other one too.",
        )
    return (width, height) if width else None
