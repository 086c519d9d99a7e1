"""ComfyUI's LATENT, a batch of latents of one size <-> those of single images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import InvalidImage
from ..core.request.latents import SourceLatents
from ..core.request.size import PIXELS_PER_LATENT
from .batches import named

if TYPE_CHECKING:
    import torch

#: `samples` are (B, 4, H/8, W/8) of the VAE's own scale; what else there is tells of them.
Latents = dict[str, Any]


def latents_shape(height: int, width: int) -> tuple[int, int, int]:
    """That of the latents of an image of this size in pixels."""
    return 4, height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT


def to_latents(batches: Iterable[torch.Tensor]) -> list[Latents]:
    """A LATENT of each batch."""
    return [{"samples": batch} for batch in batches]


def from_latents(parts: Sequence[Latents], names: Sequence[str] | None) -> list[SourceLatents]:
    """The latents of all batches, in order.

    Args:
        parts: each a LATENT.
        names: of the images that they stand for; None for numbers.

    Raises:
        InvalidImage: they are not SDXL's, not finite, or masked; or there are more or fewer names.
    """
    return [
        SourceLatents.of(one, name)
        for name, one in named("latents", "latents", _each(parts), names)
    ]


def _each(parts: Sequence[Latents]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for given in parts:
        part = given if isinstance(given, dict) else {"samples": given}
        if part.get("noise_mask") is not None:
            raise InvalidImage(
                "latents without a noise_mask",
                "some with one, of Set Latent Noise Mask or VAE Encode (for Inpainting)",
                "Take that node out, or use KSampler: there is no inpainting here.",
            )
        samples: Any = part.get("samples")
        shape = getattr(samples, "shape", ())
        if len(shape) != 4:
            raise InvalidImage(
                "a batch of latents of SDXL, (B, 4, height / 8, width / 8)",
                f"a {type(samples).__name__} of shape {tuple(shape)}",
                "Take them of VAE Encode, Empty Latent Image or KSampler, of an SDXL model.",
            )
        found += [*samples]
    return found
