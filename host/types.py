"""Names of the sockets, and the base of all nodes."""

from __future__ import annotations

from typing import Any, ClassVar

from ..core.request.fields import declared
from ..core.request.image_request import ImageRequest

#: Our own sockets: they connect to each other and to nothing else.
MODEL = "BATCH_SDXL_MODEL"
PROMPTS = "BATCH_SDXL_PROMPTS"
SEEDS = "BATCH_SDXL_SEEDS"
ROWS = "BATCH_SDXL_ROWS"

#: Fields of a request -> ComfyUI's words for them, where it has its own.
WORDS = {one.name: one.comfyui for one in declared(ImageRequest) if one.comfyui}

#: What ComfyUI calls the dictionary that a node describes its inputs with.
Inputs = dict[str, dict[str, Any]]


class BatchNode:
    """What every node of the pack says about itself."""

    CATEGORY = "Batch SDXL"
    FUNCTION = "run"
    SEARCH_ALIASES: ClassVar[list[str]] = []
