"""The part of a request that is about what an image starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidImage
from ..images.source import SourceImage
from .fields import When, declare
from .kinds import Number, Picture
from .latents import Latents, SourceLatents
from .named import Named

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    #: What a picture, and what latents may be given as.
    Picturing = SourceImage | Named | str | Path | Image.Image | NDArray[Any] | torch.Tensor
    Numbers = SourceLatents | Named | NDArray[Any] | torch.Tensor

FROM_IMAGE = When("it starts from an image", lambda request: request.image is not None)
FROM_LATENTS = When("it starts from latents", lambda request: request.latents is not None)
FROM_ANY = When("it starts from an image or latents", lambda request: request.picture is not None)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Noise, or an image, or latents in its place.

    Attributes:
        image: what to start from, None for noise; a path, or anything that `SourceImage.of` takes.
            What a file says of one is its name and digest, and its pixels have to be found.
        latents: in place of an image, such as the `latents` of a `GeneratedImage`; anything that
            `SourceLatents.of` takes. The VAE encodes nothing then. Latents that are all zero say
            how large the image is, and nothing else.
        strength: over 0, up to 1; the share of the steps that is run on an input image. Without
            an image it is not used. (Not ComfyUI's denoise, which keeps the number of steps.)
    """

    image: Picturing | None = field(
        default=None, metadata=declare(Picture(), only=FROM_IMAGE, called="an input image")
    )
    latents: Numbers | None = field(
        default=None, metadata=declare(Latents(), only=FROM_LATENTS, called="latents to start from")
    )
    strength: float = field(
        default=0.5,
        metadata=declare(
            Number(0, 1, above=True),
            only=FROM_ANY,
            advice="Small values stay near the input image, 1 leaves little of it.",
            a1111="Denoising strength",
        ),
    )

    @property
    def picture(self) -> SourceImage | SourceLatents | Named | None:
        """What it starts from as it is kept, whatever it was given as: an image, or latents."""
        kept = self.image if self.latents is None else self.latents
        return cast("SourceImage | SourceLatents | Named | None", kept)

    @property
    def source(self) -> SourceImage | SourceLatents | None:
        """What it starts from with its pixels or numbers, None to start from noise.

        Raises:
            InvalidImage: only its name is known.
        """
        kept = self.picture
        if isinstance(kept, Named):
            what, its = "an input image", "its pixels"
            if self.latents is not None:
                what, its = "latents to start from", "their numbers"
            raise InvalidImage(
                f"{what} with {its}", f"the name alone, {kept.name}", f"Put {its} into the request."
            )
        return kept
