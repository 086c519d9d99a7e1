"""Arithmetic with tensors that are not there yet."""

from __future__ import annotations

from collections.abc import Mapping


class Sum:
    """A weighted sum of tensors, each known by a number.

    Whatever a sampler computes is a sum of samples, denoised images and noise, and the weights
    depend on nothing but the noise levels. So a sampler is run once on sums, in Python's doubles,
    and its steps on tensors are then a few multiplications and additions in fp32.
    """

    def __init__(self, weights: Mapping[int, float]) -> None:
        self.weights = dict(weights)

    def __add__(self, other: Sum) -> Sum:
        """Add weight to weight."""
        one, two = self.weights, other.weights
        return Sum({n: one.get(n, 0.0) + two.get(n, 0.0) for n in sorted(one | two)})

    def __sub__(self, other: Sum) -> Sum:
        """Subtract weight from weight."""
        return self + other * -1.0

    def __mul__(self, factor: float) -> Sum:
        """Multiply all weights."""
        return Sum({number: weight * factor for number, weight in self.weights.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Sum:
        """Divide all weights."""
        return self * (1 / divisor)
