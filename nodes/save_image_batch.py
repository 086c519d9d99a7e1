"""SaveImageBatch: images and rows -> files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest
from . import host
from .batches import from_batches
from .paths import place_output, shown
from .types import ROWS, Inputs, Node

if TYPE_CHECKING:
    import torch


class SaveImageBatch(Node):
    """Saves each image with what it was made from."""

    DESCRIPTION = (
        "Saves each image as PNG. The file says what made it: its own prompt, seed and settings, "
        "and the graph, so that dropping it on ComfyUI opens the graph again."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["save images", "export", "png"]
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("files",)
    INPUT_IS_LIST = True
    OUTPUT_IS_LIST = (True,)
    OUTPUT_NODE = True
    OUTPUT_TOOLTIPS = ("Paths of the files.",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "Of Batch Generate."}),
                "rows": (ROWS, {"tooltip": "Of Batch Generate: which image is which."}),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": "batch",
                        "tooltip": "Start of the names, below the output folder; may name "
                        "subfolders. A number and the seed follow. No file is replaced.",
                    },
                ),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def run(
        self,
        images: list[torch.Tensor],
        rows: list[list[dict[str, Any]]],
        filename_prefix: list[str],
        prompt: list[Any] | None = None,
        extra_pnginfo: list[Any] | None = None,
    ) -> dict[str, Any]:
        """Write the files."""
        from ..core.images import save_png, to_uint8
        from ..core.metadata import png_texts

        pictures = from_batches(images)
        records = [row for part in rows for row in part]
        if len(pictures) != len(records):
            raise InvalidRequest(
                "a row for each image",
                f"{len(pictures)} images and {len(records)} rows",
                "Wire both from the same node.",
            )
        graph = {"prompt": (prompt or [None])[0], **((extra_pnginfo or [None])[0] or {})}
        graph = {name: value for name, value in graph.items() if value is not None}
        folder, stem = place_output(filename_prefix[0])
        files = [
            save_png(
                folder,
                f"{stem}_*_seed{record['seed']}",
                to_uint8(picture),
                png_texts(record, graph) if host.current().saves_metadata() else None,
            )
            for picture, record in zip(pictures, records, strict=True)
        ]
        ui = {
            "images": [shown(file) for file in files],
            "batch_sdxl": [json.dumps(record) for record in records],
        }
        return {"ui": ui, "result": ([str(file) for file in files],)}
