"""What a sampler is: a rule from one noise level to the next.

A rule is a generator function over the sample `x`, the noise levels `sigmas` and a source of noise.
`x` is the image plus noise of that level, not scaled down as a UNet takes it (the "variance
exploding" form of arXiv:2206.00364). The rule yields `(x, sigma)` wherever it wants the model's
opinion, is sent the denoised image, and returns the last sample:

    def euler(x, sigmas, noise):
        for sigma, following in pairwise(sigmas):
            denoised = yield x, sigma
            x = toward(x, denoised, following / sigma)
        return x

It never sees a tensor, only `Sum`s, so it may not ask what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import expm1

from .sums import Sum

#: Standard normal noise for the step between two noise levels; drawn in the order of the calls.
Noise = Callable[[float, float], Sum]

Steps = Generator[tuple[Sum, float], Sum, Sum]

Rule = Callable[[Sum, Sequence[float], Noise], Steps]


def toward(x: Sum, denoised: Sum, ratio: float) -> Sum:
    """The sample with its distance to the denoised image multiplied by `ratio`.

    With the ratio of two noise levels this is an Euler step (arXiv:2206.00364, algorithm 1), DDIM
    (arXiv:2010.02502, eq. 12 with sigma 0) and first-order DPM-Solver++ (arXiv:2211.01095) in one.
    """
    return denoised + (x - denoised) * ratio


def ancestral(sigma: float, following: float) -> tuple[float, float]:
    """The level to step down to, and that of the noise to add then to be at `following`.

    These are the mean's and the deviation's of DDPM's posterior (arXiv:2006.11239, eq. 7, with
    alpha-bar 1 / (1 + sigma^2)).
    """
    return following**2 / sigma, following * (1 - (following / sigma) ** 2) ** 0.5


def phi2(h: float) -> float:
    """1 less the mean of exp(-s) over s from 0 to h: what a difference of denoised images weighs in
    an exponential integrator."""
    return 1 + expm1(-h) / h
