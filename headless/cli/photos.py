"""Input images of `generate`, looked at before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.errors import BatchSDXLError, InvalidImage
from ...core.images.files import frame_sizes, list_images
from ...core.request.size import PIXELS_PER_LATENT


def check(paths: Sequence[Path]) -> None:
    """Refuse images that SDXL cannot start from at their own sizes, with options that fit them.

    Args:
        paths: folders and files, as a person named them.

    Raises:
        InvalidImage: a side is no multiple of 8 pixels.
    """
    for path in paths:
        try:
            files = list_images(path) if path.is_dir() else [path]
            sizes = [(file, frame_sizes(file)[0]) for file in files]
        except BatchSDXLError:
            continue  # the node tells what is wrong with it
        for file, (width, height) in sizes:
            if width % PIXELS_PER_LATENT or height % PIXELS_PER_LATENT:
                wide, high = (max(8, round(side / 8) * 8) for side in (width, height))
                raise InvalidImage(
                    f"images whose sides are multiples of {PIXELS_PER_LATENT} pixels, or a size",
                    f"{file.name} with {width} x {height}",
                    "Add --fit bucket for the SDXL size nearest to each in shape, or a size for "
                    f"all, such as --width {wide} --height {high}.",
                )
