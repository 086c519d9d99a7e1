"""The store that a person has chosen by environment variables."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ..errors import OutputError
from .store import LIMIT, ImageStore

#: Its folder; and its limit in gigabytes of 10^9 bytes, of which 0 turns it off.
FOLDER, GIGABYTES = "BATCH_SDXL_STORE", "BATCH_SDXL_STORE_GB"


def chosen_store(usual: Path) -> ImageStore | None:
    """The store, None where a person wants none.

    Args:
        usual: its folder where no other was chosen.

    Raises:
        OutputError: the limit is no number.
    """
    folder = Path(os.environ.get(FOLDER) or usual).expanduser().absolute()
    text = os.environ.get(GIGABYTES) or str(LIMIT / 1000**3)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not (math.isfinite(limit) and limit >= 0):
        raise OutputError(
            f"a number of gigabytes in {GIGABYTES}", repr(text), "Write for example 20; 0 is off."
        )
    return ImageStore(folder, int(limit * 1000**3)) if limit else None
