"""One image in flight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..request.image_request import SizedRequest
from ..request.size import PIXELS_PER_LATENT
from ..samplers.choice import start_course
from ..seeds import make_generator
from ..text.encoder import Embedding
from ..transfer import sent
from .conditions.side import SideCondition
from .conditions.size import SizeCondition
from .conditions.text import TextCondition
from .rows import Rows

#: Predictions for an image's rows, and the scale of guidance -> what its step goes by.
Guide = Callable[[torch.Tensor, float], torch.Tensor]


class Lane:
    """An image's latents, sampler and generator, all of them its own.

    Latents are in fp32 on the model's device, which the CPU never waits for. Noise is drawn on the
    CPU whatever that is, so that a seed means the same noise everywhere.

    Attributes:
        index: place of the request among those given.
        request: of the image.
    """

    def __init__(
        self,
        index: int,
        request: SizedRequest,
        embeddings: list[Embedding],
        scheduler_config: Mapping[str, Any],
        image_latents: tuple[torch.Tensor, torch.Tensor | None] | None,
        device: torch.device,
    ) -> None:
        """Draw the initial noise and plan the steps.

        Args:
            index: place of the request among those given.
            request: of the image.
            embeddings: of the negative prompt, if guided, and of the prompt.
            scheduler_config: of the model.
            image_latents: mean and standard deviation of the encoded input image, scaled, both of
                the latents' shape on the device, or latents and None; None to start from noise.
            device: that the model runs on.
        """
        self.index = index
        self.request = request
        self._embeddings = embeddings
        self._device = device
        self._time_ids = sent(torch.tensor([request.time_ids], dtype=torch.float32), device)
        self._train_steps: int = scheduler_config.get("num_train_timesteps", 1000)
        self._generator = make_generator(request.seed)
        shape = (1, 4, request.height // PIXELS_PER_LATENT, request.width // PIXELS_PER_LATENT)
        self._course = start_course(
            request.scheduler,
            scheduler_config,
            request.num_inference_steps,
            seed=request.seed,
            generator=self._generator,
            shape=shape,
            device=device,
            strength=None if image_latents is None else request.strength,
        )
        image = None
        if image_latents is not None:
            # The order of the two draws is diffusers', and that given latents need but one.
            mean, deviation = image_latents
            image = (
                mean if deviation is None else mean + deviation * sent(self._noise(shape), device)
            )
        self._course.start(sent(self._first_noise(shape), device), image)

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
    def latents(self) -> torch.Tensor:
        """(1, 4, H/8, W/8) fp32 on the device; of a finished lane, scaled as the VAE's."""
        return self._course.latents

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken."""
        return self._course.is_done

    @property
    def timestep(self) -> float:
        """The current timestep, a number between 0 and the training steps."""
        return self._course.timestep

    @property
    def embeddings(self) -> list[Embedding]:
        """One for each row of the next call: the prompt's, after the negative's if guided now."""
        request, place = self.request, 1 - self.timestep / self._train_steps
        is_guided_now = request.guidance_start <= place <= request.guidance_end
        return self._embeddings if is_guided_now else self._embeddings[-1:]

    def rows(self) -> Rows:
        """What the UNet is asked for: a row for each of `embeddings`, otherwise the same."""
        embeddings = self.embeddings
        count = len(embeddings)
        return Rows(
            self._course.model_input().expand(count, -1, -1, -1),
            torch.full((count,), self.timestep, device=self._device),
            (
                TextCondition(
                    tuple(embedding.prompt_embeds for embedding in embeddings),
                    torch.cat([embedding.pooled_prompt_embeds for embedding in embeddings]),
                ),
                SizeCondition(self._time_ids.expand(count, -1)),
                SideCondition(torch.arange(count) < count - 1),
            ),
        )

    def advance(self, predictions: torch.Tensor, guide: Guide) -> None:
        """Take one step.

        Args:
            predictions: the UNet's output for `rows`, (1 or 2, 4, H/8, W/8) fp32 on the device.
            guide: `Backend.guide` of the same rows.
        """
        is_guided = len(predictions) == 2
        prediction = guide(predictions, self.request.guidance_scale if is_guided else 1.0)
        if is_guided and self.request.guidance_rescale:
            share = self.request.guidance_rescale
            prediction = _rescaled(prediction, predictions[1:], share)
        self._course.advance(prediction)

    def estimate(self) -> torch.Tensor:
        """What the latents will be once all noise is gone, as the UNet's newest guess has it.

        Only of a lane that has taken a step.

        Returns:
            (1, 4, H/8, W/8) fp32 on the device, scaled.
        """
        return self._course.denoised


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
