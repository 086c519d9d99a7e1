"""Whether a disk has room for what is about to be written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError
from ..request.record import Record

#: Bytes of a file for each number of its image that almost no picture comes below: noise takes ten
#: times as many, a drawing of few colours about these.
LEAST, LEAST_LOSSY = 0.1, 0.01


def check_room(folder: Path, records: Iterable[Record], *, lossy: bool) -> None:
    """Refuse a batch for which there is clearly too little room.

    Args:
        folder: that files go below; need not be there.
        records: of the images.
        lossy: whether the files' format is.

    Raises:
        OutputError: the disk has less room than such files take at the very least.
    """
    numbers = sum(3 * one.request.width * one.request.height for one in records)
    needed = numbers * (LEAST_LOSSY if lossy else LEAST)
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        free = None if there is None else shutil.disk_usage(there).free
    except OSError:
        return  # some do not say
    if free is not None and needed > free:
        raise OutputError(
            f"room for the files, {_in_words(needed)} at the very least",
            f"{_in_words(free)} free for {folder}",
            "Make room, write to another disk, or make fewer images.",
        )


def _in_words(size: float) -> str:
    return f"{size / 1000**3:.1f} GB"
