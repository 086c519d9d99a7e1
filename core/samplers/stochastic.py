"""Samplers that use what the model said in earlier steps, and draw noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, expm1, log, sqrt

from .rule import Noise, Rule, Steps, ancestral, toward
from .sums import Sum


def dpmpp_sde_multistep(order: int, weight: Callable[[float], float]) -> Rule:
    """SDE-DPM-Solver++(2M) (arXiv:2211.01095), and with a third term its 3M.

    Args:
        order: 2 or 3.
        weight: of the first difference while there is no second one, of twice the step in
            log sigma, as a share of the denoised image's.
    """

    def rule(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
        said: list[tuple[Sum, float]] = []
        for sigma, following in pairwise(sigmas):
            denoised = yield x, sigma
            said = [(denoised, sigma), *said[: order - 1]]
            if not following:
                x = denoised
                continue
            down, up = ancestral(sigma, following)
            h = log(sigma / following)
            x = toward(x, denoised, down / sigma)
            if len(said) > 1:
                slopes = [
                    (one - two) * (h / log(earlier / later))
                    for (one, later), (two, earlier) in pairwise(said)
                ]
                if len(slopes) == 1:
                    x = x + slopes[0] * (weight(2 * h) * -expm1(-2 * h))
                else:
                    r0, r1 = (log(said[n + 1][1] / said[n][1]) / h for n in (0, 1))
                    curve = (slopes[0] - slopes[1]) / (r0 + r1)
                    phi2 = _phi2(2 * h)
                    x = x + (slopes[0] + curve * r0) * phi2 - curve * (phi2 / (2 * h) - 0.5)
            x = x + noise(sigma, following) * up
        return x

    return rule


def midpoint(h: float) -> float:
    """The weight by the midpoint rule."""
    return 0.5


def exact(h: float) -> float:
    """The weight by the integral (what diffusers calls "heun")."""
    return _phi2(h) / -expm1(-h)


def _phi2(h: float) -> float:
    return 1 + expm1(-h) / h


def er_sde(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Extended reverse-time SDE solver, of third order (arXiv:2309.06169, for noise that is
    not scaled down, with the noise scale of its ER-SDE-5)."""
    said: list[tuple[Sum, float]] = []
    slope_before: Sum | None = None
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if not following:
            x = denoised
            continue
        ratio = _noise_scale(following) / _noise_scale(sigma)
        change = following - sigma
        x = toward(x, denoised, ratio)
        slope = None
        if said:
            # As the authors' program: 200 rectangles.
            width = -change / 200
            places = [following + n * width for n in range(200)]
            scale = _noise_scale(following) * width
            integral = scale * sum(1 / _noise_scale(at) for at in places)
            slope = (denoised - said[0][0]) / (sigma - said[0][1])
            x = x + slope * (change + integral)
            if slope_before is not None:
                integral = scale * sum((at - sigma) / _noise_scale(at) for at in places)
                curve = (slope - slope_before) / ((sigma - said[1][1]) / 2)
                x = x + curve * (change**2 / 2 + integral)
        x = x + noise(sigma, following) * sqrt(max(following**2 - (sigma * ratio) ** 2, 0.0))
        said, slope_before = [(denoised, sigma), *said[:1]], slope
    return x


def _noise_scale(sigma: float) -> float:
    return sigma * (exp(sigma**0.3) + 10)
