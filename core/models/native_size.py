"""The size that a model was made for, without loading it."""

from __future__ import annotations

import json
from pathlib import Path

from ..request.size import PIXELS_PER_LATENT
from .sdxl_config import UNET


def native_size(path: Path) -> int:
    """Width and height in pixels; SDXL's own where the files do not say, or are not here yet.

    Loading tells what is wrong with a model; here it is only looked at.

    Args:
        path: of a diffusers folder or a single file.
    """
    size = UNET["sample_size"]
    try:
        said = json.loads((path / "unet" / "config.json").read_bytes())["sample_size"]
        size = said if isinstance(said, int) and said > 0 else size
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return int(size) * PIXELS_PER_LATENT
