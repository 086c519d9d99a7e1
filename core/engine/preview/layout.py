"""Where the images of a batch lie on its sheet."""

from __future__ import annotations

from typing import NamedTuple

#: Pixels: the sheet's longer side at most, and a tile's at least.
SHEET, TILE = 1024, 32


class Layout(NamedTuple):
    """Where tiles lie.

    Attributes:
        columns: tiles side by side.
        lines: tiles one below the other.
        width: of a tile in pixels.
        height: likewise.
    """

    columns: int
    lines: int
    width: int
    height: int

    @classmethod
    def of(cls, count: int, width: int, height: int) -> Layout:
        """The layout with the largest tiles for so many images of this size in pixels.

        Where even the smallest tiles leave some over, as many as fit.
        """

        def longer_side(columns: int) -> int:
            return max(columns * width, -(-count // columns) * height)

        columns = min(range(1, count + 1), key=longer_side)
        lines = -(-count // columns)
        factor = min(1.0, SHEET / longer_side(columns))
        least = TILE / max(width, height)
        if factor < least:
            factor = least
            columns, lines = int(SHEET / (factor * width)), int(SHEET / (factor * height))
        return cls(columns, lines, max(1, int(factor * width)), max(1, int(factor * height)))
