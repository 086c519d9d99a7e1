"""Samplers that use what the model said in earlier steps, and draw noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, expm1, log, sqrt

from .multistep import integrals, refined
from .rule import Noise, Rule, Steps, ancestral, phi2, toward
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
                    share = phi2(2 * h)
                    x = x + (slopes[0] + curve * r0) * share - curve * (share / (2 * h) - 0.5)
            x = x + noise(sigma, following) * up
        return x

    return rule


def midpoint(h: float) -> float:
    """The weight by the midpoint rule."""
    return 0.5


def exact(h: float) -> float:
    """The weight by the integral (what diffusers calls "heun")."""
    return phi2(h) / -expm1(-h)


def res_multistep_ancestral(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
    """`res_multistep` down, then noise as `euler_ancestral`."""
    before: tuple[Sum, float] | None = None
    for sigma, following in pairwise(sigmas):
        denoised = yield x, sigma
        if following:
            down, up = ancestral(sigma, following)
            x = refined(x, denoised, before, sigma, down) + noise(sigma, following) * up
            before = denoised, log(sigma / down)
        else:
            x = denoised
    return x


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


#: Noise levels of the timesteps 199.8 and 799.2 of SDXL, between which `sa_solver` draws noise;
#: rounded outwards, as `sgm_uniform` of twenty steps stops at both.
_NOISY = (0.571188, 5.092409)


def sa_solver(evaluates_again: bool) -> Rule:
    """SA-Solver (arXiv:2309.05019, algorithm 1, for denoised images): Adams' method over the last
    three, corrected by the fourth, with noise (tau 1) in the middle of the way.

    Args:
        evaluates_again: whether the model is called for the corrected sample too (PECE).
    """

    def rule(x: Sum, sigmas: Sequence[float], noise: Noise) -> Steps:
        said: list[tuple[Sum, float]] = []
        predicted, drawn, tau = x, Sum({}), 0.0
        for left, (sigma, following) in zip(
            range(len(sigmas) - 1, 0, -1), pairwise(sigmas), strict=True
        ):
            denoised = yield predicted, sigma
            said = [(denoised, sigma), *said[:3]]
            if len(said) == 1:
                x = predicted
            elif following or evaluates_again:
                x = _adams(x, said[:left], said[1][1], sigma, tau) + drawn
                if evaluates_again:
                    denoised = yield x, sigma
                    said[0] = denoised, sigma
            if not following:
                break
            tau = float(_NOISY[0] <= following <= _NOISY[1])
            drawn = Sum({})
            if tau:
                drawn = noise(sigma, following) * ancestral(sigma, following)[1]
            predicted = _adams(x, said[: min(left - 1, 3)], sigma, following, tau) + drawn
        return denoised

    return rule


def _adams(
    x: Sum, said: Sequence[tuple[Sum, float]], sigma: float, following: float, tau: float
) -> Sum:
    """The sample at `following`, through the denoised images that `said` has of some levels, less
    its noise (arXiv:2309.05019, eq. 14 and 17)."""
    power = 1 + tau**2
    # The integral over exp(power * lambda), in which the exponential is no factor any more.
    start = (following / sigma) ** power
    places = [power * log(following / level) for _, level in said]
    x = x * start
    for (denoised, _), weight in zip(said, integrals(log, places, start, 1.0), strict=True):
        x = x + denoised * weight
    return x


def _noise_scale(sigma: float) -> float:
    return sigma * (exp(sigma**0.3) + 10)
