"""What an image file says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from PIL.PngImagePlugin import PngInfo

from .request import ImageRequest

#: Key of our own record among a PNG's texts.
KEY = "batch_sdxl"


def describe(request: ImageRequest, model_name: str) -> dict[str, Any]:
    """The record that goes along with an image: plain values that JSON can hold.

    Args:
        request: with its width and height filled in.
        model_name: as `load_model` was given it.

    Returns:
        The request's fields under their own names; `strength` and `image` (its name and digest)
        only where there was an input image.
    """
    record: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "scheduler": request.scheduler,
        "model": model_name,
    }
    if request.image is not None:
        record["strength"] = request.strength
        record["image"] = {"name": request.image.name, "sha256": request.image.digest}
    return record


def png_texts(record: Mapping[str, Any], graph: Mapping[str, Any]) -> PngInfo:
    """The texts of a PNG file.

    Args:
        record: of `describe`.
        graph: ComfyUI's entries by name (`prompt`, `workflow`), so that dropping the file on
            ComfyUI opens the graph; empty where there was none.
    """
    info = PngInfo()
    info.add_text(KEY, json.dumps(record))
    for name, value in graph.items():
        info.add_text(name, json.dumps(value))
    return info
