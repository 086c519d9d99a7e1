"""The part of a request that is about the way from noise to an image."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..samplers.table import check_scheduler
from ..seeds import MAX_SEED
from .fields import When, declare
from .kinds import Name, Number, Whole
from .text import GUIDED

VARIED = When("variation_strength is not 0", lambda request: request.variation_strength > 0)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The noise, the steps, and how they are guided.

    Attributes:
        seed: 0 to 2**64 - 1, of the image's own generator.
        num_inference_steps: 1 to 10,000.
        guidance_scale: 0 to 100; up to 1 guidance is off, and the negative prompt unused.
        scheduler: a name of `core.samplers`.
        guidance_rescale: 0 to 1; how far the spread of a guided prediction is brought back to that
            of the prompt's alone (arXiv:2305.08891, 3.4), which v-prediction models want.
        guidance_start: 0 to 1; guidance is off before this share of the way from pure noise to the
            image, counted in the model's timesteps whatever the sampler (arXiv:2404.07724).
        guidance_end: 0 to 1, over `guidance_start`; likewise off after it. A step without guidance
            costs half.
        variation_seed: of a second noise that the first is turned towards; 0 to 2**64 - 1.
        variation_strength: 0 to 1, how far: 0 is the seed's own noise, 1 the variation seed's.
    """

    seed: int = field(metadata=declare(Whole(0, MAX_SEED), a1111="Seed"))
    num_inference_steps: int = field(
        default=20,
        metadata=declare(
            Whole(1, 10_000),
            called="a number of steps",
            advice="20 to 30 steps suit most models.",
            comfyui="steps",
            a1111="Steps",
        ),
    )
    guidance_scale: float = field(
        default=7.0,
        metadata=declare(
            Number(0, 100),
            called="a guidance scale (cfg)",
            advice="5 to 8 suits most models; up to 1 turns guidance off.",
            # All that turn guidance off make the same image.
            means=lambda request: request.guidance_scale if request.is_guided else 1.0,
            comfyui="cfg",
            a1111="CFG scale",
        ),
    )
    scheduler: str = field(
        default="euler", metadata=declare(Name(check_scheduler), advice="Write for example euler.")
    )
    guidance_rescale: float = field(
        default=0.0,
        metadata=declare(
            Number(0, 1),
            only=GUIDED,
            unless=0.0,
            advice="0 is off; 0.7 suits models of v-prediction.",
            a1111="CFG Rescale phi",
        ),
    )
    guidance_start: float = field(
        default=0.0,
        metadata=declare(
            Number(0, 1), only=GUIDED, unless=0.0, advice="0 guides from the first step on."
        ),
    )
    guidance_end: float = field(
        default=1.0,
        metadata=declare(
            Number(0, 1), only=GUIDED, unless=1.0, advice="1 guides up to the last step."
        ),
    )
    variation_seed: int = field(
        default=0, metadata=declare(Whole(0, MAX_SEED), only=VARIED, a1111="Variation seed")
    )
    variation_strength: float = field(
        default=0.0,
        metadata=declare(
            Number(0, 1),
            unless=0.0,
            advice="0 is off; 0.1 to 0.3 stays near the image of the seed.",
            a1111="Variation seed strength",
        ),
    )

    @property
    def is_guided(self) -> bool:
        """Whether classifier-free guidance is on, which costs a second row in every UNet call."""
        return self.guidance_scale > 1
