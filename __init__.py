"""Batch SDXL: many SDXL images in one run, each reproducible on its own.

ComfyUI reads the two mappings; Python programs use `batch_sdxl.core`.
"""

from __future__ import annotations

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__version__ = "0.1.0"

#: Help pages, and what the pack adds to ComfyUI's front end.
WEB_DIRECTORY = "./web"

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
