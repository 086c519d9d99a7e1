"""Batch SDXL: many SDXL images in one run, each reproducible on its own.

ComfyUI reads the two mappings; Python programs use `batch_sdxl.core`, whose errors are named here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import (
    BatchSDXLError,
    FailedImage,
    InvalidImage,
    InvalidPrompts,
    InvalidRequest,
    InvalidSeeds,
    InvalidWorkflow,
    MissingPackage,
    ModelNotFound,
    NoWorkers,
    OutOfMemory,
    OutputError,
    UnsupportedModel,
)

if TYPE_CHECKING:
    from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__version__ = "0.1.0"

#: Help pages, and what the pack adds to ComfyUI's front end.
WEB_DIRECTORY = "./web"

__all__ = [
    "NODE_CLASS_MAPPINGS",
    "NODE_DISPLAY_NAME_MAPPINGS",
    "WEB_DIRECTORY",
    "BatchSDXLError",
    "FailedImage",
    "InvalidImage",
    "InvalidPrompts",
    "InvalidRequest",
    "InvalidSeeds",
    "InvalidWorkflow",
    "MissingPackage",
    "ModelNotFound",
    "NoWorkers",
    "OutOfMemory",
    "OutputError",
    "UnsupportedModel",
]


def __getattr__(name: str) -> Any:
    # When they are asked for, as ComfyUI does at once: the command's help needs no node.
    if name in ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"):
        from . import nodes

        return getattr(nodes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# In ComfyUI the module's name is a path. aiohttp, which serves ComfyUI's pages, does not find files
# of a folder whose name an address must quote.
if __name__ != "batch_sdxl":
    import logging
    import sys
    from urllib.parse import quote

    _FOLDER = Path(__file__).parent.name
    if quote(_FOLDER, safe="!$&'()*+,;=:@~") != _FOLDER:
        logging.getLogger("batch_sdxl").warning(
            "Rename the folder `%s` to `batch-sdxl`: browsers cannot fetch files of a folder of "
            "that name, so the gallery of Select Images, help pages and templates are missing.",
            _FOLDER,
        )
    if "server" in sys.modules:
        from .cluster.standing import StandingWorkers
        from .host.comfyui.host import ComfyHost
        from .host.comfyui.routes import add_routes

        add_routes()
        ComfyHost.workers = StandingWorkers()
