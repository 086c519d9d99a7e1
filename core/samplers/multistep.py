"""Samplers that use what the model said in earlier steps, and draw no noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, expm1, log, log1p, sqrt

from .rule import Noise, Rule, Steps, toward
from .sums import Sum


def dpmpp_2m(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2)."""
    before: tuple[Sum, float] | None = None
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        ahead = denoised
        if following:
            h = log(sigma / following)
            if before is not None:
                ahead = denoised + (denoised - before[0]) * (h / before[1] / 2)
            before = denoised, h
        x = toward(x, ahead, following / sigma)
    return x


def res_multistep(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """The refined exponential solver of second order (arXiv:2308.02157), its second stage being
    the step before."""
    before: tuple[Sum, float] | None = None
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if before is None or not following:
            end = toward(x, denoised, following / sigma)
        else:
            h = log(sigma / following)
            c2 = log(sigma / before[1]) / h
            phi1 = -expm1(-h) / h
            phi2 = (1 - phi1) / h
            second = phi2 / c2
            end = exp(-h) * x + h * ((phi1 - second) * denoised + second * before[0])
        before = denoised, sigma
        x = end
    return x


def gradient_estimation(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Euler's method over twice this step's slope less the last one's (arXiv:2306.04848, its
    gradient estimation with gamma 2)."""
    before: Sum | None = None
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        slope = (x - denoised) / sigma
        if not following:
            x = denoised
        elif before is None:
            x = x + slope * (following - sigma)
        else:
            x = x + (2 * slope - before) * (following - sigma)
        before = slope
    return x


def ipndm(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Adams and Bashforth's weights for equal steps, up to the fourth order, whatever the steps
    (iPNDM of arXiv:2204.13902; PNDM is arXiv:2202.09778)."""
    orders: tuple[tuple[float, ...], ...] = (
        (1,),
        (3 / 2, -1 / 2),
        (23 / 12, -16 / 12, 5 / 12),
        (55 / 24, -59 / 24, 37 / 24, -9 / 24),
    )
    slopes: list[Sum] = []
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        if following:
            for slope, weight in zip(slopes, orders[len(slopes) - 1], strict=True):
                x = x + slope * (weight * (following - sigma))
        else:
            x = denoised
    return x


def adams_bashforth(order: int, place: Callable[[float], float]) -> Rule:
    """Adams and Bashforth's method: the slopes of the last steps, continued by a polynomial.

    Args:
        order: how many slopes, at most.
        place: sigma -> the variable that the polynomial is in. Sigma itself makes `lms`, another
            one of the exponential integrators of DEIS (arXiv:2204.13902, where the
            integral over sigma is what remains for noise that is not scaled down).
    """

    def rule(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
        slopes: list[Sum] = []
        for step, (sigma, following) in enumerate(pairwise(sigmas)):
            denoised = yield x, sigma
            slopes = [(x - denoised) / sigma, *slopes[: order - 1]]
            if following:
                places = [place(sigmas[step - back]) for back in range(len(slopes))]
                for slope, weight in zip(
                    slopes, _integrals(place, places, sigma, following), strict=True
                ):
                    x = x + slope * weight
            else:
                x = denoised
        return x

    return rule


def _integrals(
    place: Callable[[float], float], places: Sequence[float], sigma: float, following: float
) -> list[float]:
    """Of each Lagrange polynomial through the places, over sigma."""
    from scipy.integrate import quad

    def polynomial(at: float, own: int) -> float:
        value = 1.0
        for other, there in enumerate(places):
            if other != own:
                value *= (place(at) - there) / (places[own] - there)
        return value

    return [
        float(quad(polynomial, sigma, following, args=(own,), epsrel=1e-7)[0])
        for own in range(len(places))
    ]


def vp_time(sigma: float) -> float:
    """Sigma -> the time of the "variance preserving" process, as tAB-DEIS has it.

    The process is that of arXiv:2206.00364, table 1 ("VP"), for sigmas of 0.002 to 80.
    """
    least, most = log1p(0.002**2), log1p(80.0**2)
    rate = 2 * (least / 1e-3 - most) / (1e-3 - 1)
    lowest = most - rate / 2
    return (sqrt(lowest**2 + 2 * rate * log1p(sigma**2)) - lowest) / rate


def uni_pc(order: int, scale: Callable[[float], float]) -> Rule:
    """UniPC: each step predicted, and corrected by the next call (arXiv:2302.04867, for
    denoised images, with several earlier steps).

    The logarithm of no noise being infinite, it ends at a sigma of 0.001.

    Args:
        order: at most.
        scale: the paper's B(h), of minus h.
    """

    def rule(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
        if not sigmas[-1]:
            sigmas = [*sigmas[:-1], 0.001]
        steps = len(sigmas) - 1
        top = min(order, max(steps - 1, 1))
        said: list[tuple[Sum, float]] = []
        start, used = x, 0
        for step, (sigma, following) in enumerate(pairwise(sigmas)):
            denoised = yield x, sigma
            if said:
                x = _uni(start, said[:used], sigma, scale, denoised)
            said = [(denoised, sigma), *said[: top - 1]]
            used = min(len(said), steps - step)
            start = x
            x = _uni(start, said[:used], following, scale)
        return x

    return rule


def _uni(
    x: Sum,
    said: Sequence[tuple[Sum, float]],
    following: float,
    scale: Callable[[float], float],
    corrected: Sum | None = None,
) -> Sum:
    """UniP (arXiv:2302.04867), or UniC with the denoised image of the step's own end.

    Args:
        x: at the step's start.
        said: denoised images and their sigmas, the start's first; as many as the order.
        following: sigma of the step's end.
        scale: see `uni_pc`.
        corrected: denoised image at the end.
    """
    import numpy as np

    (denoised, sigma), *earlier = said
    h = log(following / sigma)  # the paper's, negative
    places = [log(level / sigma) / h for _, level in earlier]
    changes = [other - denoised for other, _ in earlier]
    if corrected is not None:
        places.append(1.0)
        changes.append(corrected - denoised)
    end = toward(x, denoised, exp(h))
    if not changes:
        return end
    wanted, phi, factorial = [], expm1(h) / h - 1, 1
    for power in range(1, len(places) + 1):
        wanted.append(phi * factorial / scale(h))
        factorial *= power + 1
        phi = phi / h - 1 / factorial
    # One unknown is not solved for but 1/2, which both papers and programs hold to.
    weights = (
        [0.5]
        if len(places) == 1
        else np.linalg.solve([[p**n for p in places] for n in range(len(places))], wanted)
    )
    for weight, change, place in zip(weights, changes, places, strict=True):
        end = end - change * (scale(h) * float(weight) / place)
    return end
