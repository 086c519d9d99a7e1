"""One image in flight."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from ..request.image_request import PIXELS_PER_LATENT, SizedRequest
from ..request.seeds import make_generator
from ..text.encoder import Embedding
from .schedulers import start_scheduler


class Lane:
    """An image's latents, scheduler and generator, all of them its own.

    They stay on the CPU in fp32 whatever the model runs on: a seed means the same noise everywhere,
    and the scheduler's arithmetic has the same bits.

    Attributes:
        index: place of the request among those given.
        latents: (1, 4, H/8, W/8) fp32, scaled as the UNet takes them.
        embeddings: one for each row: the prompt's, after the negative prompt's if guided.
    """

    def __init__(
        self,
        index: int,
        request: SizedRequest,
        embeddings: list[Embedding],
        scheduler_config: dict[str, Any],
        image_latents: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """Draw the initial noise and plan the steps.

        Args:
            index: place of the request among those given.
            request: of the image.
            embeddings: of the negative prompt, if guided, and of the prompt.
            scheduler_config: of the model.
            image_latents: mean and standard deviation of the encoded input image, scaled, both of
                the latents' shape; None to start from noise.
        """
        self.index = index
        self.request = request
        self.embeddings = embeddings
        self._generator = make_generator(request.seed)
        self._scheduler, self._timesteps = start_scheduler(
            request.scheduler,
            scheduler_config,
            request.num_inference_steps,
            seed=request.seed,
            strength=None if image_latents is None else request.strength,
        )
        known = inspect.signature(self._scheduler.step).parameters
        self._step_arguments = {"generator": self._generator} if "generator" in known else {}
        self._done = 0
        shape = (1, 4, request.height // PIXELS_PER_LATENT, request.width // PIXELS_PER_LATENT)
        if image_latents is None:
            self.latents = self._first_noise(shape) * self._scheduler.init_noise_sigma
        else:
            # The order of the two draws is diffusers'.
            mean, deviation = image_latents
            latents = mean + deviation * self._noise(shape)
            self.latents = self._scheduler.add_noise(
                latents, self._first_noise(shape), self._timesteps[:1]
            )

    def _noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float32)

    def _first_noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The noise that the image grows from: the seed's, turned towards the variation seed's."""
        noise = self._noise(shape)
        share = self.request.variation_strength
        if not share:
            return noise
        generator = make_generator(self.request.variation_seed)
        return _between(noise, torch.randn(shape, generator=generator), share)

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken."""
        return self._done == len(self._timesteps)

    @property
    def timestep(self) -> torch.Tensor:
        """The current timestep, a number between 0 and the training steps."""
        return self._timesteps[self._done]

    def model_input(self) -> torch.Tensor:
        """The latents as the UNet wants them at the current timestep: (1, 4, H/8, W/8) fp32."""
        scaled: torch.Tensor = self._scheduler.scale_model_input(self.latents, self.timestep)
        self._input = scaled
        return scaled

    def advance(self, predictions: torch.Tensor) -> None:
        """Take one step.

        Args:
            predictions: the UNet's output for this lane's rows, (1 or 2, 4, H/8, W/8) fp32, the
                negative prompt's first. Combined by classifier-free guidance (arXiv:2207.12598,
                eq. 6, in diffusers' parametrisation, where 1 is off).
        """
        if self.request.is_guided:
            negative, positive = predictions.chunk(2)
            prediction = negative + self.request.guidance_scale * (positive - negative)
            if self.request.guidance_rescale:
                prediction = _rescaled(prediction, positive, self.request.guidance_rescale)
        else:
            prediction = predictions
        self._prediction = prediction
        (self.latents, *_) = self._scheduler.step(
            prediction, self.timestep, self.latents, **self._step_arguments, return_dict=False
        )
        self._done += 1

    def estimate(self) -> torch.Tensor:
        """What the latents will be once all noise is gone, as the UNet's newest guess has it.

        Only of a lane that has taken a step.

        Returns:
            (1, 4, H/8, W/8) fp32, scaled.
        """
        return _clean(
            self._input,
            self._prediction,
            self._timesteps[self._done - 1],
            self._scheduler.alphas_cumprod,
            self._scheduler.config.prediction_type,
        )


def _between(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Spherical interpolation: as long as noise is, where a plain mean would be too short.

    Source: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985, over the whole
    tensor as one vector.
    """
    first, second = one.double(), other.double()
    angle = ((first * second).sum() / (first.norm() * second.norm())).clamp(-1, 1).acos()
    if angle < 1e-4:  # the same noise twice
        return one
    parts = ((1 - share) * angle).sin() * first, (share * angle).sin() * second
    mixed: torch.Tensor = (parts[0] + parts[1]) / angle.sin()
    return mixed.float()


def _rescaled(guided: torch.Tensor, positive: torch.Tensor, share: float) -> torch.Tensor:
    """A guided prediction with its spread brought back (arXiv:2305.08891, eq. 15 and 16).

    Args:
        guided: (1, 4, H/8, W/8) fp32.
        positive: of the prompt alone, likewise.
        share: 0 to 1, of the rescaled one in the result.
    """
    rescaled = guided * (positive.std() / guided.std())
    return share * rescaled + (1 - share) * guided


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
