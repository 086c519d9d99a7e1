"""What a sampler's name means alone: diffusers' scheduler, or its table of noise levels."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..errors import InvalidRequest
from ..transfer import sent
from .table import SAMPLERS


class DiffusersCourse:
    """A scheduler of diffusers, with the face of a `Course`.

    For samplers whose name means another arithmetic in diffusers than in ComfyUI; written twice,
    it would be equal only to what it was held against. It computes on the CPU, where its noise is
    drawn.

    Attributes:
        latents: (1, 4, H/8, W/8) fp32 on the CPU, in the scheduler's own scale.
    """

    latents: torch.Tensor

    def __init__(
        self,
        planned: Any,
        timesteps: torch.Tensor,
        *,
        seed: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        """Copy a scheduler.

        Args:
            planned: the scheduler, its steps planned, which stays as it is.
            timesteps: to run.
            seed: of the image, for the one scheduler that takes no generator (DPMSolverSDE).
            generator: of the image.
            device: that the UNet is called on.
        """
        self._device = device
        # Planning can take longer than a UNet call does.
        self._scheduler = copy.deepcopy(planned)
        self._timesteps = timesteps
        if hasattr(self._scheduler, "noise_sampler_seed"):
            self._scheduler.noise_sampler_seed = seed
        known = inspect.signature(self._scheduler.step).parameters
        self._step_arguments = {"generator": generator} if "generator" in known else {}
        self._done = 0

    def start(self, noise: torch.Tensor, image: torch.Tensor | None) -> None:
        """As `Course.start`."""
        noise = noise.cpu()
        if image is None:
            self.latents = noise * self._scheduler.init_noise_sigma
        else:
            self.latents = self._scheduler.add_noise(image.cpu(), noise, self._timesteps[:1])

    @property
    def is_done(self) -> bool:
        """As `Course.is_done`."""
        return self._done == len(self._timesteps)

    @property
    def timestep(self) -> float:
        """As `Course.timestep`."""
        return float(self._timestep)

    @property
    def _timestep(self) -> torch.Tensor:
        return self._timesteps[self._done]

    def model_input(self) -> torch.Tensor:
        """As `Course.model_input`."""
        scaled: torch.Tensor = self._scheduler.scale_model_input(self.latents, self._timestep)
        self._input = scaled
        return sent(scaled, self._device)

    def advance(self, prediction: torch.Tensor) -> None:
        """As `Course.advance`."""
        self._prediction = prediction.cpu()
        (self.latents, *_) = self._scheduler.step(
            self._prediction,
            self._timestep,
            self.latents,
            **self._step_arguments,
            return_dict=False,
        )
        self._done += 1

    @property
    def denoised(self) -> torch.Tensor:
        """As `Course.denoised`."""
        return _clean(
            self._input,
            self._prediction,
            self._timesteps[self._done - 1],
            self._scheduler.alphas_cumprod,
            self._scheduler.config.prediction_type,
        )


def planned_scheduler(
    name: str,
    settings: tuple[tuple[str, Any], ...],
    num_inference_steps: int,
    strength: float | None,
) -> tuple[Any, torch.Tensor]:
    """A scheduler with its steps planned, which is never run itself, and the timesteps to run.

    Raises:
        InvalidRequest: it can't take that many steps, or the model's noise.
    """
    scheduler = _planned(name, settings, num_inference_steps)
    begin = 0
    if strength is not None:
        # As StableDiffusionXLImg2ImgPipeline.get_timesteps.
        run = min(int(num_inference_steps * strength), num_inference_steps)
        begin = (num_inference_steps - run) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler = copy.copy(scheduler)
        scheduler.set_begin_index(begin)
    return scheduler, scheduler.timesteps[begin:]


@lru_cache(maxsize=64)
def _planned(name: str, settings: tuple[tuple[str, Any], ...], num_inference_steps: int) -> Any:
    import diffusers

    class_name, own = SAMPLERS[name].scheduler or ("", {})
    scheduler_class = getattr(diffusers, class_name)
    config = dict(settings) | own
    known = inspect.signature(scheduler_class.__init__).parameters
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
        raise InvalidRequest(
            "a sampler for a model of zero terminal SNR",
            repr(name),
            f"Choose for example euler, dpmpp_2m, ddim or {name}:normal.",
        )
    scheduler = scheduler_class(**{key: value for key, value in config.items() if key in known})
    try:
        scheduler.set_timesteps(num_inference_steps, device="cpu")
    except ValueError as error:
        raise InvalidRequest(
            f"a number of steps that {name} can take",
            f"{num_inference_steps} ({error})",
            "Take fewer steps, or another sampler.",
        ) from error
    return scheduler


def euler_table(
    model_config: Mapping[str, Any], num_inference_steps: int
) -> tuple[list[float], Callable[[float], float], float]:
    """What diffusers' Euler plans, and with it Heun and DPM2.

    Returns:
        Sigmas, falling, the last 0; sigma -> timestep, with fractions; and what the first noise is
        multiplied by.
    """
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(**model_config)
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    sigmas: list[float] = scheduler.sigmas.double().tolist()
    timesteps: dict[float, float] = dict(zip(sigmas, scheduler.timesteps.tolist(), strict=False))
    signal = scheduler.alphas_cumprod.double().numpy()
    logs = np.log((1 - signal) / signal) / 2

    def timestep(sigma: float) -> float:
        between = np.interp(np.log(sigma), logs, np.arange(len(logs)))
        return timesteps.get(sigma, float(between))

    return sigmas, timestep, float(scheduler.init_noise_sigma)


def _clean(
    model_input: torch.Tensor,
    prediction: torch.Tensor,
    timestep: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    prediction_type: str,
) -> torch.Tensor:
    """The clean latents that a prediction stands for, whatever the scheduler.

    What the UNet is given has signal and noise in the shares that its timestep says, even where a
    scheduler keeps its latents in another scale. Between two timesteps, the logarithm of the noise
    level is a straight line, as it is in diffusers.

    Args:
        model_input: (1, 4, H/8, W/8) fp32, scaled for the timestep.
        prediction: the guided output for it, likewise.
        timestep: a number between 0 and the training steps.
        alphas_cumprod: (training steps,), the scheduler's.
        prediction_type: `epsilon` or `v_prediction`.
    """
    # Some models' last timestep has no signal; diffusers' Euler takes this much for none, too.
    shares = alphas_cumprod.clamp(min=2**-24)
    levels = ((1 - shares) / shares).log() / 2
    low = min(int(timestep), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    sigma = levels[low].lerp(levels[high], float(timestep) - low).exp()
    signal = (sigma**2 + 1).rsqrt()
    if prediction_type == "v_prediction":
        return signal * (model_input - sigma * prediction)
    return model_input / signal - sigma * prediction
