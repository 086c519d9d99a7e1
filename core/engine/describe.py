"""Requests, a model and its numerics -> the records of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..models.attention import attention_of
from ..models.model import Model
from ..numerics import Geometry, fingerprint
from ..request.identity import identity
from ..request.image_request import SizedRequest
from ..request.named import Named
from ..request.record import MadeWith, NamedLora, Record
from ..text.chunks import called_inversions


class Describer:
    """Makes the records of one run.

    What the parts of the model compute with is read once, since that takes milliseconds.
    """

    def __init__(self, model: Model) -> None:
        """Read it off the model.

        Args:
            model: that makes the images; `pinned`, as decoding may change its VAE for a while.
        """
        self._model = model
        self._made_with = _made_with(model)
        self._attention = attention_of(model.unet, model.vae, model.text_encoders)
        self._vae_dtype = model.vae.dtype

    def numerics(self, geometry: Geometry) -> dict[str, Any]:
        """What images are computed with now, in calls of this geometry."""
        model = self._model
        return fingerprint(model.device, model.dtype, self._vae_dtype, geometry, self._attention)

    def describe(self, request: SizedRequest, numerics: dict[str, Any]) -> Record:
        """The record that goes along with an image.

        Args:
            request: that it is made of.
            numerics: of `numerics`, for its geometry.
        """
        model = self._model
        prompts = [request.prompt, *([request.negative_prompt] if request.is_guided else [])]
        called = set().union(*(called_inversions(prompt, model.inversions) for prompt in prompts))
        inversions = {name: model.inversions[name].digest for name in sorted(called)}
        if (image := request.image) is None:
            known = request
        else:  # records outlive the images, and need no pixels
            known = replace(request, image=Named(image.name, image.digest))
        return Record(
            request=known,
            model=self._made_with,
            numerics=numerics,
            identity=identity(request, model.digest, numerics, inversions),
            inversions=inversions,
        )


def _made_with(model: Model) -> MadeWith:
    return MadeWith(
        name=model.name,
        digest=model.digest,
        files_digest=model.contents.files_digest if model.contents.changes else model.digest,
        vae=None if model.given_vae is None else Named(*model.given_vae),
        loras=tuple(
            NamedLora(lora.name, lora.digest, lora.weight, lora.text_weight) for lora in model.loras
        ),
        noise=dict(model.noise),
    )
