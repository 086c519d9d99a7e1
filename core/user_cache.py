"""Where files lie that can be made again, and make things faster."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """The package's folder in the user's cache folder, as the XDG base directories say."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batch-sdxl"
