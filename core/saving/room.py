"""Whether a folder can take what is about to be written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError
from .new_files import unwritten

#: Bytes of a file for each number of its image that almost no picture comes below: noise takes ten
#: times as many, a drawing of few colours about these.
LEAST, LEAST_LOSSY = 0.1, 0.01


#: Likewise, of a picture that looks like a photograph.
USUAL, USUAL_LOSSY = 0.5, 0.06


@dataclass(frozen=True)
class Needs:
    """The bytes that files take.

    Attributes:
        least: what they take at the very least.
        usual: what photographs would.
        free: what the disk has left; None where it does not say.
    """

    least: float
    usual: float
    free: int | None

    def in_words(self) -> str:
        """Such as `some 15.7 GB, and 59.0 GB are free`."""
        free = "" if self.free is None else f", and {_in_words(self.free)} are free"
        return f"some {_in_words(self.usual)}{free}"


def check_folder(folder: Path) -> None:
    """Refuse a folder that nothing can be written to, before anything is made for it.

    Args:
        folder: need not be there; it is not made.

    Raises:
        OutputError: a file is in its place, or its parents', or it cannot be written to.
    """
    try:
        there = _nearest(folder)
        if not there.is_dir():
            raise OutputError("a folder to write to", f"{there}, a file", "Name another folder.")
        # Permissions do not tell all of it: a mount may be read-only, a system take no files there.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise unwritten(folder, error) from error


def check_room(folder: Path, sizes: Iterable[tuple[int, int]], *, lossy: bool) -> Needs:
    """Refuse a batch for which there is clearly too little room.

    Args:
        folder: that files go below; need not be there.
        sizes: width and height of each image in pixels.
        lossy: whether the files' format is.

    Returns:
        What it will take.

    Raises:
        OutputError: the disk has less room than such files take at the very least.
    """
    numbers = sum(3 * width * height for width, height in sizes)
    try:
        free = shutil.disk_usage(_nearest(folder)).free
    except OSError:
        free = None  # some do not say
    least, usual = (LEAST_LOSSY, USUAL_LOSSY) if lossy else (LEAST, USUAL)
    needs = Needs(numbers * least, numbers * usual, free)
    if free is not None and needs.least > free:
        raise OutputError(
            f"room for the files, {_in_words(needs.least)} at the very least",
            f"{_in_words(free)} free for {folder}",
            "Make room, write to another disk, or make fewer images.",
        )
    return needs


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _in_words(size: float) -> str:
    return f"{size / 1000**3:.1f} GB"
