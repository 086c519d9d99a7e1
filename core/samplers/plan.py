"""A rule and noise levels -> what is to be done with tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from .rule import Rule
from .sums import Sum


class Interval(NamedTuple):
    """Noise that is drawn: the number of its tensor, and the noise levels it is drawn between."""

    number: int
    sigma: float
    following: float


class Call(NamedTuple):
    """A call of the model, and what is made of its answer.

    Attributes:
        sigma: noise level of the sample.
        timestep: that the model is told.
        denoised: number of the tensor that it answers.
        drawn: noise to draw then, in this order.
        weights: number of a tensor -> its weight in the next sample.
        sample: the next sample's number.
        done_with: tensors that no later call needs.
    """

    sigma: float
    timestep: float
    denoised: int
    drawn: tuple[Interval, ...]
    weights: tuple[tuple[int, float], ...]
    sample: int
    done_with: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All calls of an image, the first one's sample being tensor 0.

    Attributes:
        calls: one or more.
        noise_scale: what the first noise is multiplied by, in an image of noise alone.
        noise_scale_on_image: likewise, where it is added to an image.
        lowest: the last noise level above zero.
    """

    calls: tuple[Call, ...]
    noise_scale: float
    noise_scale_on_image: float
    lowest: float


def plan_calls(
    rule: Rule, sigmas: Sequence[float], timestep: Callable[[float], float]
) -> tuple[Call, ...]:
    """Run a rule on sums.

    Args:
        rule: of a sampler.
        sigmas: falling.
        timestep: sigma -> what the model is told.
    """
    numbers = count()
    x = Sum({next(numbers): 1.0})
    drawn: list[Interval] = []

    def noise(sigma: float, following: float) -> Sum:
        drawn.append(Interval(next(numbers), sigma, following))
        return Sum({drawn[-1].number: 1.0})

    calls: list[Call] = []
    steps = rule(x, sigmas, noise)
    sample, sigma = next(steps)
    while True:
        answer = next(numbers)
        drawn.clear()
        try:
            sample, following = steps.send(Sum({answer: 1.0}))
            ended = False
        except StopIteration as stop:
            sample, following, ended = stop.value, 0.0, True
        weights = tuple((n, weight) for n, weight in sorted(sample.weights.items()) if weight)
        number = next(numbers)
        calls.append(Call(sigma, timestep(sigma), answer, tuple(drawn), weights, number, ()))
        if ended:
            return _with_ends(calls)
        # What the rule yielded is a tensor of its own from here on.
        sample.weights = {number: 1.0}
        sigma = following


def _with_ends(calls: Sequence[Call]) -> tuple[Call, ...]:
    """The calls with `done_with` filled in."""
    needed: set[int] = set()
    filled = []
    for call in reversed(calls):
        used = {number for number, _ in call.weights}
        made = {call.sample, call.denoised, *(noise.number for noise in call.drawn)}
        filled.append(call._replace(done_with=tuple(sorted((used | made) - needed))))
        needed = (needed | used) - made
    return tuple(reversed(filled))
