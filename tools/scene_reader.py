"""Reads a picture back into words, by its pixels alone: the judge of what the model draws.

It knows the palette and the outlines of the shapes, and nothing of the model or of captions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scenes import COLOURS, SHAPES, Pixels, outline

Mask = NDArray[np.bool_]
GRID = 32
MIN_OVERLAP = 0.7  # below this it is no clean shape, whatever it resembles most
_PALETTE = np.asarray(list(COLOURS.values()), np.float32)


@dataclass(frozen=True)
class Reading:
    """What a picture shows; overlap (0..1) is how well the best outline fits.

    x, y and size (of the box around the thing) are fractions of width, height, shorter side.
    An empty shape means that nothing clean was found.
    """

    background: str
    colour: str = ""
    shape: str = ""
    overlap: float = 0.0
    x: float = 0.5
    y: float = 0.5
    size: float = 0.0


def read(picture: Pixels) -> Reading:
    """The one thing of (H, W, 3) pixels, and the background."""
    pixels = picture.astype(np.float32)
    edge = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3)])
    background = _nearest(np.median(edge, axis=0))
    # What is no shade of the background belongs to the thing; its commonest colour names it.
    ground = np.median(edge, axis=0)
    far = np.linalg.norm(pixels - ground, axis=-1) > 75
    if far.mean() < 0.005:
        return Reading(background)
    names = np.linalg.norm(pixels[far][:, None] - _PALETTE, axis=-1).argmin(1)
    counts = np.bincount(names, minlength=len(COLOURS))
    counts[list(COLOURS).index(background)] = 0
    colour = list(COLOURS)[int(counts.argmax())]
    between = _PALETTE[int(counts.argmax())] - ground
    share = (pixels - ground) @ between / max(1.0, float(between @ between))
    mask = share > 0.5
    if mask.sum() < 20:
        return Reading(background, colour)
    rows, columns = np.nonzero(mask)
    overlaps = {shape: _overlap(_fitted(mask), _template(shape)) for shape in SHAPES}
    shape = max(overlaps, key=lambda name: overlaps[name])
    height, width = mask.shape
    clean = overlaps[shape] >= MIN_OVERLAP
    return Reading(
        background,
        colour,
        shape if clean else "",
        overlaps[shape],
        (columns.min() + columns.max() + 1) / 2 / width,
        (rows.min() + rows.max() + 1) / 2 / height,
        max(np.ptp(rows), np.ptp(columns)) / min(height, width),
    )


def read_pair(picture: Pixels) -> tuple[Reading, Reading]:
    """The things of the left and of the right half."""
    middle = picture.shape[1] // 2
    return read(picture[:, :middle]), read(picture[:, middle:])


def _nearest(colour: NDArray[np.float32]) -> str:
    return list(COLOURS)[int(np.linalg.norm(_PALETTE - colour, axis=-1).argmin())]


def _fitted(mask: Mask) -> Mask:
    """The mask's box, centred in a square and scaled to the grid: no place, no size, only shape."""
    rows, columns = np.nonzero(mask)
    box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = max(box.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - box.shape[0]) // 2, (side - box.shape[1]) // 2
    square[top : top + box.shape[0], left : left + box.shape[1]] = 255 * box
    small = Image.fromarray(square).resize((GRID, GRID), Image.Resampling.BOX)
    return np.asarray(small) > 127


def _template(shape: str) -> Mask:
    canvas = Image.new("L", (256, 256))
    pen = ImageDraw.Draw(canvas)
    for hole, polygon in enumerate(outline(shape)):
        pen.polygon([(128 + 100 * x, 128 + 100 * y) for x, y in polygon], fill=0 if hole else 255)
    return _fitted(np.asarray(canvas) > 127)


def _overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())
