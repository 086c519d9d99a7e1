"""The part of a request that is about sizes: the image's own, and those that SDXL is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .fields import When, declare
from .kinds import Pixels, Whole

#: Pixels of a side that one latent stands for: width and height of an image are multiples of it.
PIXELS_PER_LATENT = 8
#: Pixels of the longest side.
MAX_SIDE = 16384


def _told(name: str, own: str) -> Mapping[str, Any]:
    """A size that SDXL is told counts where it is not the image's own, which is what None means."""

    def differs(request: Any) -> bool:
        return getattr(request, name) not in (None, getattr(request, own))

    return declare(
        Whole(1, MAX_SIDE),
        only=When(f"it is not the image's own {own}", differs),
        advice="Give pixels, or leave it open for the image's own size.",
    )


_SIDE = declare(Pixels(PIXELS_PER_LATENT, MAX_SIDE, PIXELS_PER_LATENT))
_CROP = declare(Whole(0, MAX_SIDE), unless=0, advice="Give pixels; 0 suits most images.")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large an image is, and what SDXL is told of that (arXiv:2307.01952, 2.2).

    Attributes:
        width: in pixels, a multiple of 8 up to 16384. None: the input image's, else the model's own
            size.
        height: as width.
        original_width: 1 to 16384 pixels; what SDXL is told that the picture had before it was
            scaled. Small values give the look of small pictures. None: `width`.
        original_height: as original_width.
        crop_left: 0 to 16384 pixels that SDXL is told were cut off at the left; more than 0 moves
            what is shown out of the middle.
        crop_top: as crop_left.
        target_width: 1 to 16384 pixels; what SDXL is told that the picture has now. None: `width`.
        target_height: as target_width.
    """

    width: int | None = field(default=None, metadata=_SIDE)
    height: int | None = field(default=None, metadata=_SIDE)
    original_width: int | None = field(default=None, metadata=_told("original_width", "width"))
    original_height: int | None = field(default=None, metadata=_told("original_height", "height"))
    crop_left: int = field(default=0, metadata=_CROP)
    crop_top: int = field(default=0, metadata=_CROP)
    target_width: int | None = field(default=None, metadata=_told("target_width", "width"))
    target_height: int | None = field(default=None, metadata=_told("target_height", "height"))
