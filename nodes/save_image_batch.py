"""SaveImageBatch: images and rows -> files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest, OutputError
from . import host
from .batches import from_batches
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
        root = host.current().output_folder()
        folder, stem = _place(root, filename_prefix[0])
        files = [
            save_png(
                folder,
                f"{stem}_{{number}}_seed{record['seed']}",
                to_uint8(picture),
                png_texts(record, graph) if host.current().saves_metadata() else None,
            )
            for picture, record in zip(pictures, records, strict=True)
        ]
        shown = [
            {
                "filename": file.name,
                "subfolder": folder.relative_to(root.resolve()).as_posix().removeprefix("."),
                "type": "output",
            }
            for file in files
        ]
        ui = {"images": shown, "batch_sdxl": [json.dumps(record) for record in records]}
        return {"ui": ui, "result": ([str(file) for file in files],)}


def _place(root: Path, prefix: str) -> tuple[Path, str]:
    """The folder and the start of the names, never outside the output folder."""
    root = root.resolve()
    path = (root / prefix).resolve()
    if not prefix or prefix.endswith(("/", "\\")) or not path.is_relative_to(root) or path == root:
        raise OutputError(
            f"a filename_prefix that stays below {root}", repr(prefix), "Write for example: batch."
        )
    # Braces would be taken for the place of the number.
    return path.parent, path.name.replace("{", "{{").replace("}", "}}")
