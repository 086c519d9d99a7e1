"""Where the noise of steps comes from, one source for each image."""

from __future__ import annotations

from math import sqrt

import torch

from .course import Draw
from .plan import Interval


def from_generator(generator: torch.Generator, shape: tuple[int, ...]) -> Draw:
    """Each draw is the generator's next."""
    return lambda interval: torch.randn(shape, generator=generator, dtype=torch.float32)


def from_path(seed: int, shape: tuple[int, ...], lowest: float, highest: float) -> Draw:
    """Each draw is a stretch of one Brownian path over sigma, which the seed determines.

    Args:
        seed: of the path.
        shape: of a draw.
        lowest: sigma that the path begins at.
        highest: sigma that it ends at.
    """
    import torchsde

    # torchsde rounds all times to six digits, and warns of those that it puts outside the path.
    lowest, highest = round(lowest, 6), round(highest, 6)
    tree: list[torchsde.BrownianTree] = []

    def draw(interval: Interval) -> torch.Tensor:
        if not tree:  # a path of no length can't be made, nor is one asked for
            origin = torch.zeros(shape)
            tree.append(torchsde.BrownianTree(lowest, origin, highest, entropy=seed))
        start, end = interval.following, interval.sigma
        # The path is walked from noise to image, that is, backwards.
        stretch: torch.Tensor = tree[0](max(start, lowest), min(end, highest))
        return -stretch / sqrt(end - start)

    return draw
