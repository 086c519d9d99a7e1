"""Lines on paper, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 60, 44, 34, 150
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f", "#666666")

Line = Mapping[int, float]


def plot(title: str, across: str, lines: Mapping[str, Line]) -> str:
    """An SVG of lines, doublings across and values from zero upwards.

    Args:
        title: what the values are.
        across: what is on the axis, such as rows.
        lines: name -> value at each place.
    """
    places = sorted({place for line in lines.values() for place in line})
    top = 1.1 * max(value for line in lines.values() for value in line.values())
    span = max(1e-9, math.log2(places[-1] / places[0]))

    def x(place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(place / places[0]) / span

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top

    marks = [_text(LEFT, TOP - 14, title, "start")]
    marks.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across, "middle"))
    marks += (_text(x(place), HEIGHT - BOTTOM + 16, str(place), "middle") for place in places)
    for tick in range(5):
        value = top * tick / 4
        marks.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd" fill="none"/>'
        )
        marks.append(_text(LEFT - 6, y(value) + 4, f"{value:.2g}", "end"))
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = [(x(place), y(value)) for place, value in sorted(line.items())]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points
        ]
        marks.append(_text(points[-1][0] + 8, points[-1][1] + 4, name, "start", colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(marks)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"
