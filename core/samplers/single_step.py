"""Samplers that remember nothing from one step to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, expm1, log, sqrt

from .rule import Noise, Steps, ancestral, phi2, toward
from .sums import Sum


def euler(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Euler's method (arXiv:2206.00364, algorithm 1 without its second half)."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        x = toward(x, denoised, following / sigma)
    return x


def euler_ancestral(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """An Euler step down, then noise: DDPM's own step (arXiv:2006.11239, algorithm 2)."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        down, up = ancestral(sigma, following)
        x = toward(x, denoised, down / sigma)
        if following:
            x = x + noise(sigma, following) * up
    return x


def heun(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Heun's method (arXiv:2206.00364, algorithm 1)."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        slope = (x - denoised) / sigma
        end = toward(x, denoised, following / sigma)
        if following:
            denoised = yield end, following
            slope = (slope + (end - denoised) / following) / 2
        x = x + slope * (following - sigma)
    return x


def heunpp2(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Heun's method with the slopes of two steps ahead, each weighing as its noise level does
    (Heun++ of Carzit/sd-webui-samplers-scheduler)."""
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        ahead = [level for level in sigmas[step + 1 : step + 3] if level]
        whole = (len(ahead) + 1) * sigmas[0]
        slope = (x - (yield x, sigma)) / sigma
        mean = slope * (1 - sum(ahead) / whole)
        place, before = x, sigma
        for level in ahead:
            place = place + slope * (level - before)
            slope = (place - (yield place, level)) / level
            mean = mean + slope * (level / whole)
            before = level
        x = x + mean * (following - sigma)
    return x


def dpm_2(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """The midpoint method, the midpoint taken in log sigma, as DPM-Solver-2 does
    (arXiv:2206.00927, algorithm 1 with r 1/2)."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            x = yield from _midpoint(x, denoised, sigma, following)
        else:
            x = denoised
    return x


def dpm_2_ancestral(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """`dpm_2` down, then noise as `euler_ancestral`."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            down, up = ancestral(sigma, following)
            x = yield from _midpoint(x, denoised, sigma, down)
            x = x + noise(sigma, following) * up
        else:
            x = denoised
    return x


def _midpoint(x: Sum, denoised: Sum, sigma: float, following: float) -> Steps:
    middle = sqrt(sigma * following)
    half = toward(x, denoised, middle / sigma)
    denoised = yield half, middle
    return x + (half - denoised) * ((following - sigma) / middle)


def dpmpp_2s_ancestral(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2S) with r 1/2 (arXiv:2211.01095, algorithm 1) down, then noise."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            down, up = ancestral(sigma, following)
            middle = sqrt(sigma * down)
            denoised = yield toward(x, denoised, middle / sigma), middle
            x = toward(x, denoised, down / sigma) + noise(sigma, following) * up
        else:
            x = denoised
    return x


def dpmpp_sde(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """`dpmpp_2s_ancestral` with noise at the midpoint too (SDE-DPM-Solver++ of
    arXiv:2211.01095; in two stages it is k-diffusion's)."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            middle = sqrt(sigma * following)
            down, up = ancestral(sigma, middle)
            half = toward(x, denoised, down / sigma) + noise(sigma, middle) * up
            denoised = yield half, middle
            down, up = ancestral(sigma, following)
            x = toward(x, denoised, down / sigma) + noise(sigma, following) * up
        else:
            x = denoised
    return x


def seeds_2(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """SEEDS-2 (arXiv:2305.14267, for denoised images): `dpmpp_sde` whose noise goes on
    from the midpoint's."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            middle = sqrt(sigma * following)
            walk = _walked(Sum({}), sigma, middle, noise)
            half = toward(x, denoised, (middle / sigma) ** 2) + walk
            denoised = yield half, middle
            walk = _walked(walk, middle, following, noise)
            x = toward(x, denoised, (following / sigma) ** 2) + walk
        else:
            x = denoised
    return x


def seeds_3(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """SEEDS-3 (arXiv:2305.14267, for denoised images), with stages at thirds of log sigma."""
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            h = log(sigma / following)
            third, thirds = sigma * exp(-h / 3), sigma * exp(-2 * h / 3)
            walk = _walked(Sum({}), sigma, third, noise)
            second = yield toward(x, denoised, (third / sigma) ** 2) + walk, third
            walk = _walked(walk, third, thirds, noise)
            part = toward(x, denoised, (thirds / sigma) ** 2) + walk
            last = yield part + (second - denoised) * (2 * phi2(4 * h / 3)), thirds
            walk = _walked(walk, thirds, following, noise)
            end = toward(x, denoised, (following / sigma) ** 2) + walk
            x = end + (last - denoised) * (1.5 * phi2(2 * h))
        else:
            x = denoised
    return x


def _walked(walk: Sum, sigma: float, following: float, noise: Noise) -> Sum:
    """The noise added since a step began, one part of it later."""
    down, up = ancestral(sigma, following)
    return walk * (down / sigma) + noise(sigma, following) * up


def lcm(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """A consistency model's steps: all the way, and noise anew (arXiv:2303.01469, algorithm 1)."""
    for sigma, following in pairwise(sigmas):
        x = yield x, sigma
        if following:
            x = x + noise(sigma, following) * following
    return x


def dpm_fast(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-fast (arXiv:2206.00927): as many calls as there are steps, in solvers
    of third order at even distances of log sigma, and a smaller one or two to fill up.

    Of the noise levels it takes the first, the last that is not zero, and their number. It ends at
    that last one.
    """
    calls = len(sigmas) - 1
    first, last = sigmas[0], sigmas[-1] or sigmas[-2]
    count = calls // 3 + 1
    orders = [3] * (count - 2) + [2, 1] if calls % 3 == 0 else [3] * (count - 1) + [calls % 3]
    ratio = (last / first) ** (1 / count)
    for step, order in enumerate(orders):
        sigma = first * ratio**step
        x = yield from _dpm_solver(x, sigma, sigma * ratio, order)
    return x


def _dpm_solver(x: Sum, sigma: float, following: float, order: int) -> Steps:
    """DPM-Solver-1, -2 or -3 (arXiv:2206.00927, algorithms 1 and 2, alpha 1): over the noise
    predicted, with the usual midpoints."""
    h = log(sigma / following)
    eps = (x - (yield x, sigma)) / sigma
    end = x - following * expm1(h) * eps
    if order == 1:
        return end
    r1, r2 = (1 / 2, 1.0) if order == 2 else (1 / 3, 2 / 3)
    level = sigma * exp(-r1 * h)
    part = x - level * expm1(r1 * h) * eps
    change = (part - (yield part, level)) / level - eps
    if order == 2:
        return end - following * expm1(h) / (2 * r1) * change
    level = sigma * exp(-r2 * h)
    part = x - level * expm1(r2 * h) * eps
    part = part - level * r2 / r1 * (expm1(r2 * h) / (r2 * h) - 1) * change
    change = (part - (yield part, level)) / level - eps
    return end - following / r2 * (expm1(h) / h - 1) * change
