"""Pictures that the built-in model learns from: coloured shapes, drawn here, and their captions.

A `Scene` is a plain value: what is to be seen. `draw` turns it into a picture, `caption` into one
of many ways to ask for it. What a caption leaves out (size, place, sometimes more) was drawn at
random, so one caption fits many pictures.
"""

import math
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
Pixels = NDArray[np.uint8]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 46),
    "orange": (250, 132, 20),
    "yellow": (253, 216, 45),
    "green": (38, 166, 81),
    "blue": (34, 101, 221),
    "purple": (128, 57, 178),
    "pink": (250, 139, 186),
    "white": (248, 248, 248),
    "black": (26, 26, 32),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross", "moon")
# Where the middle of the shape goes, in units of the room it has: -1 is as far left or up as it
# can go, 1 as far right or down.
PLACES: dict[str, Point] = {
    "center": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}
SIZES: dict[str, Point] = {"small": (0.12, 0.155), "large": (0.30, 0.36)}
ANY_SIZE = (0.16, 0.34)
PLACED_SIZE = (0.15, 0.25)  # a shape that fills the picture has no left or right
PAIR_SIZE = (0.14, 0.19)
REACH = 1.15  # no shape reaches further from its middle than this many radii
MARGIN = 0.025
OVERSAMPLING = 4


@dataclass(frozen=True)
class Thing:
    """One shape: x, y and radius are fractions of the picture's width, height, shorter side."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """One picture: one thing, or two of them (left one first), on a background.

    size and place are the words a caption may use, empty where the scene is nameless in that.
    """

    things: tuple[Thing, ...]
    background: str
    size: str = ""
    place: str = ""


def random_scene(random: Random, *, aspect: float = 1.0, pair_share: float = 0.25) -> Scene:
    """A scene drawn at random; aspect is width over height of the picture it is meant for."""
    background = random.choice(list(COLOURS))
    others = [colour for colour in COLOURS if colour != background]
    if random.random() < pair_share:
        return _random_pair(random, background, others, aspect)
    size = random.choice(["small", "large", "", "", ""])
    place = random.choice([*PLACES, *[""] * 9])
    limits = SIZES[size] if size else PLACED_SIZE if place else ANY_SIZE
    if size == "large" and place not in ("", "center"):
        limits = (0.27, 0.31)
    radius = random.uniform(*limits)
    room_x, room_y = _room(radius, aspect)
    if place:
        x = _coordinate(random, PLACES[place][0], room_x)
        y = _coordinate(random, PLACES[place][1], room_y)
    else:
        x, y = 0.5 + random.uniform(-room_x, room_x), 0.5 + random.uniform(-room_y, room_y)
    thing = Thing(random.choice(SHAPES), random.choice(others), x, y, radius)
    return Scene((thing,), background, size, place)


def _random_pair(random: Random, background: str, colours: list[str], aspect: float) -> Scene:
    things = []
    for middle in (0.26, 0.74):
        radius = random.uniform(*PAIR_SIZE)
        y = 0.5 + 0.5 * random.uniform(-1, 1) * _room(radius, aspect)[1]
        x = middle + random.uniform(-0.02, 0.02)
        things.append(Thing(random.choice(SHAPES), random.choice(colours), x, y, radius))
    return Scene(tuple(things), background)


def _room(radius: float, aspect: float) -> Point:
    """How far from the middle a shape of this radius may go, as fractions of width and height."""
    reach = REACH * radius + MARGIN
    return (
        max(0.0, 0.5 - reach * min(1.0, 1.0 / aspect)),
        max(0.0, 0.5 - reach * min(1.0, aspect)),
    )


def _coordinate(random: Random, side: float, room: float) -> float:
    if side == 0:
        return 0.5 + random.uniform(-0.03, 0.03)
    return 0.5 + side * room * random.uniform(0.8, 1.0)


def outline(shape: str) -> list[list[Point]]:
    """The shape around (0, 0) with radius about 1, y down: one polygon, then its holes."""
    if shape == "circle":
        return [_arc(0, 0, 1.0)]
    if shape == "ring":
        return [_arc(0, 0, 1.08), _arc(0, 0, 0.6)]
    if shape == "square":
        return [[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]]
    if shape == "diamond":
        return [[(0, -1.15), (0.95, 0), (0, 1.15), (-0.95, 0)]]
    if shape == "triangle":
        return [[(0, -1.02), (1.1, 0.88), (-1.1, 0.88)]]
    if shape == "cross":
        a, b = 0.36, 1.05
        corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        return [corners + [(-x, -y) for x, y in corners]]
    if shape == "star":
        turns = [math.pi * (k / 5 - 0.5) for k in range(10)]
        radii = [1.15 if k % 2 == 0 else 0.5 for k in range(10)]
        return [
            [(r * math.cos(t), r * math.sin(t) + 0.06) for r, t in zip(radii, turns, strict=True)]
        ]
    if shape == "moon":
        # The outer arc is a circle, the inner one another circle's, between their two crossings.
        outer = _arc(0, 0, 1.08, 0.28 * math.pi, 1.72 * math.pi)
        (x0, y0), (x1, y1) = outer[-1], outer[0]
        centre = x0 + 0.02
        radius = math.hypot(x0 - centre, y0)
        start = math.atan2(y0, x0 - centre)
        inner = _arc(centre, 0, radius, start, math.atan2(y1, x1 - centre) - 2 * math.pi)
        return [[(x + 0.15, y) for x, y in outer + inner]]
    turns = [2 * math.pi * k / 96 for k in range(96)]
    heart = [
        (
            16 * math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]
    return [[(x / 15.5, (y - 2.5) / 15.5) for x, y in heart]]


def _arc(
    x: float, y: float, radius: float, start: float = 0.0, end: float = 2 * math.pi
) -> list[Point]:
    steps = 72
    turns = [start + (end - start) * k / steps for k in range(steps + 1)]
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]


def draw(scene: Scene, *, width: int = 128, height: int = 128) -> Pixels:
    """The scene as (height, width, 3) pixels, with smooth edges, soft light and a soft shadow."""
    canvas = np.asarray(COLOURS[scene.background], np.float32) * _light(width, height)
    rows = np.arange(height, dtype=np.float32)[:, None]
    for thing in scene.things:
        mask = _mask(thing, width, height)
        side = min(width, height)
        shadow = mask.filter(ImageFilter.GaussianBlur(0.12 * thing.radius * side))
        drop = round(0.14 * thing.radius * side)
        shade = np.zeros((height, width), np.float32)
        shade[drop:] = np.asarray(shadow, np.float32)[: height - drop] / 255
        canvas = canvas * (1 - 0.24 * shade[..., None])
        alpha = np.asarray(mask, np.float32)[..., None] / 255
        depth = ((rows / height - thing.y) * height / (side * thing.radius)).clip(-1.2, 1.2)
        light = depth[..., None] * np.float32(-0.06)
        colour = np.asarray(COLOURS[thing.colour], np.float32)
        lit = colour + light.clip(0) * (255 - colour) * 1.6 + light.clip(None, 0) * colour
        canvas = canvas * (1 - alpha) + lit * alpha
    return canvas.round().clip(0, 255).astype(np.uint8)


@cache
def _light(width: int, height: int) -> NDArray[np.float32]:
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot(columns / width - 0.5, rows / height - 0.45)
    light: NDArray[np.float32] = (1.03 - 0.12 * distance).astype(np.float32)[..., None]
    return light


def _mask(thing: Thing, width: int, height: int) -> Image.Image:
    scale = OVERSAMPLING * min(width, height) * thing.radius
    x, y = OVERSAMPLING * width * thing.x, OVERSAMPLING * height * thing.y
    large = Image.new("L", (OVERSAMPLING * width, OVERSAMPLING * height))
    pen = ImageDraw.Draw(large)
    for hole, polygon in enumerate(outline(thing.shape)):
        pen.polygon([(x + scale * u, y + scale * v) for u, v in polygon], fill=0 if hole else 255)
    return large.reduce(OVERSAMPLING)
