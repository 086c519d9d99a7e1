"""SeedsToNoise: seeds -> NOISE with a seed of its own for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest, InvalidSeeds
from ..core.seeds import make_generator
from ..core.wording import counted
from ..host.comfyui.stock_sampler import SeedsOfImages, check_count, for_images
from ..host.types import SEEDS, BatchNode, Inputs

if TYPE_CHECKING:
    import torch

#: ComfyUI's: "samples" (B, C, H/8, W/8) unscaled, and what goes with them.
Latent = dict[str, Any]


class SeedsToNoise(BatchNode):
    """Gives each image of a batch the noise of its own seed, in ComfyUI's own samplers."""

    DESCRIPTION = (
        "Gives each image of a batch the noise of its own seed, for SamplerCustomAdvanced with a "
        "model of your own. Wire noise, sampler and latent all from here: noise in the steps of a "
        "sampler is each image's own too. An image is what ComfyUI makes of its seed alone, to "
        "the rounding. Samplers that can't do this in a batch are refused."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "noise per image",
        "batch seeds",
        "random noise batch",
        "seeds to noise",
    ]
    RETURN_TYPES = ("NOISE", "SAMPLER", "LATENT")
    RETURN_NAMES = ("noise", "sampler", "latent")
    OUTPUT_TOOLTIPS = (
        "For SamplerCustomAdvanced.",
        "The sampler, with noise in its steps from each image's own seed.",
        "The latent, with as many images as there are seeds.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "seeds": (SEEDS, {"tooltip": "Of Prompts to Conditioning or Seed List."}),
                "sampler": ("SAMPLER", {"tooltip": "Of KSamplerSelect or another of ComfyUI's."}),
                "latent": (
                    "LATENT",
                    {
                        "tooltip": "Of Empty Latent Image or VAE Encode. One image serves for "
                        "all seeds; several must be as many as the seeds."
                    },
                ),
            }
        }

    def run(
        self, seeds: tuple[int, ...], sampler: Any, latent: Latent
    ) -> tuple[SeedNoise, Any, Latent]:
        """Check that they fit, and give each image its seed."""
        if not seeds:
            raise InvalidSeeds("at least one seed", "none", "Wire a Seed List.")
        return SeedNoise(seeds), for_images(sampler, seeds), _for_count(latent, len(seeds))


class SeedNoise:
    """ComfyUI's NOISE: one generator an image.

    Attributes:
        seed: what samplers draw the noise of their steps by.
    """

    def __init__(self, seeds: tuple[int, ...]) -> None:
        """Take a seed for each image."""
        self._seeds = tuple(seeds)
        self.seed = self._seeds[0] if len(self._seeds) == 1 else SeedsOfImages(self._seeds)

    def generate_noise(self, input_latent: Latent) -> torch.Tensor:
        """Noise of the latent's shape, (B, C, H/8, W/8) fp32 on the CPU; row k is of seed k alone.

        Raises:
            InvalidRequest: there are not as many seeds as images.
        """
        import torch

        samples = _samples(input_latent)
        check_count(len(samples), len(self._seeds))
        shape = (1, *samples.shape[1:])
        return torch.cat([torch.randn(shape, generator=make_generator(s)) for s in self._seeds])


def _samples(latent: Latent) -> torch.Tensor:
    samples: torch.Tensor = latent["samples"]
    if getattr(samples, "is_nested", False) or samples.ndim != 4:
        raise InvalidRequest(
            "a latent of images",
            "one of video or sound",
            "Wire Empty Latent Image or VAE Encode.",
        )
    return samples


def _for_count(latent: Latent, count: int) -> Latent:
    """The latent with that many images: its own, or its only one repeated.

    Raises:
        InvalidRequest: it has several, and another number of them, or of masks.
    """
    samples, mask = _samples(latent), latent.get("noise_mask")
    if len(samples) not in (1, count):
        check_count(len(samples), count)
    # One mask serves for all, by ComfyUI's own rule; a (H, W) one is a single one too.
    masks = 1 if mask is None or mask.ndim < 3 else len(mask)
    if masks not in (1, count):
        raise InvalidRequest(
            "as many masks as seeds (or one mask for all)",
            f"{counted(masks, 'masks')} and {counted(count, 'seeds')}",
            "Even them out.",
        )
    if len(samples) == count:
        return latent
    # Places in a stock batch of noise: meaningless where each image has its own seed.
    kept = {name: value for name, value in latent.items() if name != "batch_index"}
    return {**kept, "samples": samples.repeat(count, 1, 1, 1)}
