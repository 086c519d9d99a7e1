"""A plan, on tensors."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch

from .plan import Interval, Plan

#: Noise of the latents' shape, fp32 on their device, for an interval of noise levels.
Draw = Callable[[Interval], torch.Tensor]


class Course:
    """An image's way through its plan.

    Attributes:
        latents: (1, 4, H/8, W/8) fp32 on any device, the image plus noise of the current level.
        denoised: likewise, the image without the noise as the model sees it; of the newest call.
    """

    latents: torch.Tensor
    denoised: torch.Tensor

    def __init__(self, plan: Plan, prediction_type: str, draw: Draw) -> None:
        """Take the first place.

        Args:
            plan: shared, and never written to.
            prediction_type: `epsilon` or `v_prediction`.
            draw: where the noise of steps comes from.
        """
        self._plan = plan
        self._calls = plan.calls
        self._velocity = prediction_type == "v_prediction"
        self._draw = draw
        self._done = 0
        self._tensors: dict[int, torch.Tensor] = {}

    def start(self, noise: torch.Tensor, image: torch.Tensor | None) -> None:
        """Set the first latents.

        Args:
            noise: standard normal.
            image: latents to start from, scaled; None for noise alone.
        """
        if image is None:
            self.latents = noise * self._plan.noise_scale
        else:
            self.latents = image + noise * self._plan.noise_scale_on_image
        self._tensors[0] = self.latents

    @property
    def is_done(self) -> bool:
        """Whether all calls are made."""
        return self._done == len(self._calls)

    @property
    def timestep(self) -> float:
        """The current timestep, a number between 0 and the training steps."""
        return self._calls[self._done].timestep

    def model_input(self) -> torch.Tensor:
        """The latents with the variance that the UNet was trained on."""
        return self.latents / sqrt(self._calls[self._done].sigma ** 2 + 1)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take the UNet's guided output for `model_input`, of its shape, fp32."""
        call, tensors = self._calls[self._done], self._tensors
        scale = sqrt(call.sigma**2 + 1)
        if self._velocity:  # arXiv:2202.00512, appendix D
            self.denoised = (self.latents / scale - prediction * call.sigma) / scale
        else:
            self.denoised = self.latents - prediction * call.sigma
        tensors[call.denoised] = self.denoised
        for interval in call.drawn:
            tensors[interval.number] = self._draw(interval)
        total: torch.Tensor | None = None
        for number, weight in call.weights:
            term = tensors[number] * weight
            total = term if total is None else total + term
        assert total is not None
        tensors[call.sample] = self.latents = total
        for number in call.done_with:
            del tensors[number]
        self._done += 1
