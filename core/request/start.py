"""The part of a request that is about what an image starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidImage
from ..images.source import SourceImage
from .fields import When, declare
from .kinds import Number, Picture
from .named import Named

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    #: What a picture may be given as.
    Picturing = SourceImage | Named | str | Path | Image.Image | NDArray[Any] | torch.Tensor

FROM_IMAGE = When("it starts from an image", lambda request: request.image is not None)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Noise, or an image.

    Attributes:
        image: what to start from, None for noise; a path, or anything that `SourceImage.of` takes.
            What a file says of one is its name and digest, and its pixels have to be found.
        strength: over 0, up to 1; the share of the steps that is run on an input image. Without
            an image it is not used. (Not ComfyUI's denoise, which keeps the number of steps.)
    """

    image: Picturing | None = field(
        default=None, metadata=declare(Picture(), only=FROM_IMAGE, called="an input image")
    )
    strength: float = field(
        default=0.5,
        metadata=declare(
            Number(0, 1, above=True),
            only=FROM_IMAGE,
            advice="Small values stay near the input image, 1 leaves little of it.",
            a1111="Denoising strength",
        ),
    )

    @property
    def picture(self) -> SourceImage | Named | None:
        """The input image as it is kept, whatever it was given as."""
        return cast("SourceImage | Named | None", self.image)

    @property
    def source(self) -> SourceImage | None:
        """The input image with its pixels, None to start from noise.

        Raises:
            InvalidImage: only its name is known.
        """
        if isinstance(self.picture, Named):
            raise InvalidImage(
                "an input image with its pixels",
                f"the name of one, {self.picture.name}",
                "Put the image itself into the request.",
            )
        return self.picture
