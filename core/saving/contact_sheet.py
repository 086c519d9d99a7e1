"""Many images on one sheet, each with its label."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..request.row import Row, words_of

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Pixels = NDArray[np.uint8]

GAP = 8
INK, PAPER, EMPTY = (32, 32, 32), (255, 255, 255), (228, 228, 228)
#: Pixels of all cells together, at most: the sheet of any number of images stays within memory.
PIXELS = 64_000_000
#: Most lines of a label; a longer one is set smaller.
LINES = 4

#: Fonts of the usual systems, widest coverage first; the one that Pillow brings knows Latin only.
_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "arial.ttf",
)


class Sheet(NamedTuple):
    """Where images go.

    Attributes:
        cells: for each row of the sheet, the index of the image in each column; None stays empty.
        tops: label above each column; empty for none.
        sides: label left of each row; empty for none.
        captions: label below each image, by index; empty for none.
    """

    cells: Sequence[Sequence[int | None]]
    tops: Sequence[str] = ()
    sides: Sequence[str] = ()
    captions: Sequence[str] = ()


def by_prompt_and_seed(records: Sequence[Row]) -> Sheet:
    """Prompts down, seeds across; a pair that comes twice takes another row.

    Where most cells would be empty, as with prompts that each have a seed of their own, or seeds
    are not known, the images come in order instead.
    """
    if any(record.request.seed is None for record in records):
        return in_order(records)
    seeds = list(dict.fromkeys(record.request.seed for record in records))
    rows: list[tuple[str, list[int | None]]] = []
    for index, record in enumerate(records):
        column = seeds.index(record.request.seed)
        for prompt, row in rows:
            if prompt == words_of(record) and row[column] is None:
                break
        else:
            row = [None] * len(seeds)
            rows.append((words_of(record), row))
        row[column] = index
    if len(rows) * len(seeds) > 2 * len(records):
        return in_order(records)
    return Sheet(
        [row for _, row in rows],
        tops=[f"seed {seed}" for seed in seeds],
        sides=[prompt for prompt, _ in rows],
    )


def in_order(records: Sequence[Row], columns: int = 0) -> Sheet:
    """As they come, prompt and seed below each, its number where neither is known.

    Args:
        records: one an image.
        columns: 0 makes the sheet about square.
    """
    width = columns or math.ceil(math.sqrt(len(records)))
    indices: list[int | None] = [*range(len(records)), *[None] * (-len(records) % width)]
    return Sheet(
        [indices[start : start + width] for start in range(0, len(indices), width)],
        captions=[_caption(number, record) for number, record in enumerate(records, 1)],
    )


def _caption(number: int, record: Row) -> str:
    words, seed = words_of(record), record.request.seed
    lines = [words] * bool(words) + ([] if seed is None else [f"seed {seed}"])
    return "\n".join(lines or [f"#{number}"])


def draw(images: Sequence[Pixels], sheet: Sheet, cell: int) -> Pixels:
    """The sheet as one image, (H, W, 3) uint8.

    Args:
        images: each (H, W, 3) uint8, of any sizes; shrunk to fit a cell, never enlarged.
        sheet: where they go.
        cell: width and height of a cell in pixels, at most; with very many images, as small as it
            takes for all cells to have `PIXELS` pixels together, down to 24 each.
    """
    count = len(sheet.cells) * len(sheet.cells[0])
    cell = min(cell, max(24, math.isqrt(PIXELS // count)))
    width = min(cell, max(image.shape[1] for image in images))
    height = min(cell, max(image.shape[0] for image in images))
    size = max(10, min(width, height) // 10)
    line = round(size * 1.3)
    top = line if sheet.tops else 0
    below = line * LINES if sheet.captions else 0
    left = width if sheet.sides else 0
    columns = len(sheet.cells[0])
    page = Image.new(
        "RGB",
        (
            GAP + bool(left) * (left + GAP) + columns * (width + GAP),
            GAP + bool(top) * (top + GAP) + len(sheet.cells) * (height + below + GAP),
        ),
        PAPER,
    )
    pen = ImageDraw.Draw(page)
    x0 = GAP + bool(left) * (left + GAP)
    y0 = GAP + bool(top) * (top + GAP)
    for column, text in enumerate(sheet.tops):
        _write(pen, text, (x0 + column * (width + GAP), GAP), (width, top), size)
    for row, indices in enumerate(sheet.cells):
        y = y0 + row * (height + below + GAP)
        if sheet.sides:
            _write(pen, sheet.sides[row], (GAP, y), (left, height), size)
        for column, index in enumerate(indices):
            x = x0 + column * (width + GAP)
            if index is None:
                pen.rectangle((x, y, x + width - 1, y + height - 1), fill=EMPTY)
                continue
            picture = Image.fromarray(images[index])
            picture.thumbnail((width, height), Image.Resampling.LANCZOS)
            page.paste(
                picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2)
            )
            if sheet.captions:
                _write(pen, sheet.captions[index], (x, y + height), (width, below), size)
    return np.array(page)


def _write(
    pen: ImageDraw.ImageDraw, text: str, place: tuple[int, int], box: tuple[int, int], size: int
) -> None:
    """Text broken into lines, in a size that lets it fit into a box of (width, height) pixels."""
    text = text[:2000]  # more than fits anywhere
    for smaller in range(size, 5, -1):
        font = _font(text, smaller)
        lines = _wrapped(text, font, box[0])
        if len(lines) * smaller * 1.3 <= box[1]:
            break
    shown = lines[: max(1, int(box[1] / (smaller * 1.3)))]
    if len(shown) < len(lines):
        shown[-1] = shown[-1][:-1] + "…"
    pen.multiline_text(place, "\n".join(shown), INK, font, spacing=round(smaller * 0.3))


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            while len(word) > 1 and font.getlength(word) > width:  # no blank to break at
                fits = max(1, bisect_right(range(len(word)), width, key=_length_of(word, font)) - 1)
                lines += [line, word[:fits]] if line else [word[:fits]]
                line, word = "", word[fits:]
            joined = f"{line} {word}" if line else word
            if line and font.getlength(joined) > width:
                lines.append(line)
                joined = word
            line = joined
        lines.append(line)
    return lines


def _length_of(word: str, font: Font) -> Callable[[int], int]:
    """Whole pixels that so many first signs of a word take."""
    return lambda count: math.ceil(font.getlength(word[:count]))


def _font(text: str, size: int) -> Font:
    """A font that has the signs of a text: Pillow's own, else the first of the system's."""
    own = ImageFont.load_default(size)
    if text.isascii():
        return own
    path = _wide_font()
    return own if path is None else ImageFont.truetype(str(path), size)


@lru_cache(1)
def _wide_font() -> Path | None:
    for name in _FONTS:
        for folder in map(Path, _FOLDERS):
            for path in folder.rglob(name) if folder.is_dir() else ():
                return path
    return None
