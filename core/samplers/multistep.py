"""Samplers that use what the model said in earlier steps, and draw no noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, expm1, log, log1p, sqrt

from .rule import Noise, Rule, Steps, phi2, toward
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
        if following:
            x = refined(x, denoised, before, sigma, following)
            before = denoised, log(sigma / following)
        else:
            x = denoised
    return x


def refined(
    x: Sum, denoised: Sum, before: tuple[Sum, float] | None, sigma: float, following: float
) -> Sum:
    """A step of `res_multistep`.

    Args:
        x: at the step's start.
        denoised: there.
        before: denoised image at the start of the step before, and that step's length in log sigma.
        sigma: at the step's start.
        following: at its end, above 0.
    """
    end = toward(x, denoised, following / sigma)
    if before is None:
        return end
    h = log(sigma / following)
    return end + (denoised - before[0]) * (phi2(h) * h / before[1])


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


def ipndm_v(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """`ipndm` for steps of any lengths, as its authors' program has it (zju-pi/diff-sampler).

    By its idea that is `lms`. Two of its factors, marked here, are not those of the polynomials,
    so that weights need not even add up to 1; images made with it have them.
    """
    slopes: list[Sum] = []
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = yield x, sigma
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        if following:
            lengths = [sigmas[step - n + 1] - sigmas[step - n] for n in range(len(slopes))]
            for slope, weight in zip(slopes, _ipndm_v_weights(*lengths), strict=True):
                x = x + slope * (weight * (following - sigma))
        else:
            x = denoised
    return x


def _ipndm_v_weights(h: float, *earlier: float) -> list[float]:
    """Of the slopes, the newest first.

    Args:
        h: length of the step in sigma.
        earlier: of up to three steps before it, the newest first.
    """
    weights = [1.0, 0.0, 0.0, 0.0]
    if earlier:
        h1 = earlier[0]
        weights[0] += h / (2 * h1)
        weights[1] -= h / (2 * h1)
    if len(earlier) > 1:
        h2 = earlier[1]
        second = (1 - h**2 / (3 * h1 * (h1 + h2))) / 2  # not h * (h / 3 + h1 / 2) / ...
        weights[0] += second
        weights[1] -= second * (1 + h1 / h2)
        weights[2] += second * h1 / h2
    if len(earlier) > 2:
        h3 = earlier[2]
        third = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        third *= h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
        share = h1 * (h1 + h2) / (h2 * (h2 + h3))
        weights[0] += third
        weights[1] -= third * (1 + h1 / h2 + share)
        weights[2] += third * (h1 / h2 + share * (1 + h2 / h3))
        weights[3] -= third * share * h1 / h2  # not h2 / h3
    return weights[: len(earlier) + 1]


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
                    slopes, integrals(place, places, sigma, following), strict=True
                ):
                    x = x + slope * weight
            else:
                x = denoised
        return x

    return rule


def integrals(
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
