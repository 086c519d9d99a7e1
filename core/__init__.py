"""The engine: many SDXL images in one run, each reproducible on its own.

Knows neither ComfyUI nor nodes. Names are loaded when first used, so that importing the package
stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .combinations import combine
    from .comparison import Comparison
    from .engine.engine import Engine
    from .engine.generated_image import GeneratedImage
    from .engine.progress import Progress
    from .images.source import SourceImage
    from .models.inversion import with_inversions
    from .models.load import load_model
    from .models.lora import apply_lora
    from .models.model import Model
    from .models.spec import LoraSpec, ModelSpec
    from .numerics import Geometry
    from .replay import Replay, reproduce, verify
    from .request.image_request import ImageRequest, SizedRequest
    from .request.record import Record
    from .saving.image_file import save

__all__ = [
    "Comparison",
    "Engine",
    "GeneratedImage",
    "Geometry",
    "ImageRequest",
    "LoraSpec",
    "Model",
    "ModelSpec",
    "Progress",
    "Record",
    "Replay",
    "SizedRequest",
    "SourceImage",
    "apply_lora",
    "combine",
    "load_model",
    "reproduce",
    "save",
    "verify",
    "with_inversions",
]

_HOMES = {
    "engine.engine": ("Engine",),
    "engine.generated_image": ("GeneratedImage",),
    "images.source": ("SourceImage",),
    "models.inversion": ("with_inversions",),
    "models.load": ("load_model",),
    "models.lora": ("apply_lora",),
    "models.model": ("Model",),
    "models.spec": ("LoraSpec", "ModelSpec"),
    "numerics": ("Geometry",),
    "engine.progress": ("Progress",),
    "replay": ("Replay", "reproduce", "verify"),
    "combinations": ("combine",),
    "comparison": ("Comparison",),
    "request.image_request": ("ImageRequest", "SizedRequest"),
    "request.record": ("Record",),
    "saving.image_file": ("save",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
