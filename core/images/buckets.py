"""The sizes that SDXL was trained on."""

from __future__ import annotations

import math

#: Pixels a side of the square one; all have about as many pixels.
SIDE = 1024

#: (width, height) of those at least as wide as high; the others are these turned.
#: Source: arXiv 2307.01952, appendix I, which lacks one turned: 704 x 1344.
WIDE = (
    *((1024, 1024), (1024, 960), (1088, 960), (1088, 896), (1152, 896), (1152, 832)),
    *((1216, 832), (1280, 768), (1344, 768), (1344, 704), (1408, 704), (1472, 704)),
    *((1536, 640), (1600, 640), (1664, 576), (1728, 576), (1792, 576), (1856, 512)),
    *((1920, 512), (1984, 512), (2048, 512)),
)

#: All of them, the squarest first.
BUCKETS = (*WIDE, *((height, width) for width, height in WIDE if width != height))


def bucket(width: int, height: int, area: int = SIDE * SIDE) -> tuple[int, int]:
    """The bucket whose shape is nearest to an image's.

    Args:
        width: of the image, in pixels.
        height: as width.
        area: pixels that a bucket has, about; other than SDXL's, sides are scaled and rounded to
            multiples of 8.

    Returns:
        (width, height) in pixels.
    """
    shape = math.log(width / height)
    best = min(BUCKETS, key=lambda size: abs(math.log(size[0] / size[1]) - shape))
    scale = math.sqrt(area) / SIDE
    if scale == 1:
        return best
    wide, high = (max(8, round(side * scale / 8) * 8) for side in best)
    return wide, high
