"""A request, a model and a geometry -> the record of the image."""

from __future__ import annotations

from dataclasses import replace

from ..models.attention import attention_of
from ..models.model import Model
from ..numerics import Geometry, fingerprint
from ..request.identity import identity
from ..request.image_request import SizedRequest
from ..request.named import Named
from ..request.record import MadeWith, NamedLora, Record
from ..text.chunks import called_inversions


def describe(request: SizedRequest, model: Model, geometry: Geometry) -> Record:
    """The record that goes along with an image.

    Args:
        request: that it is made of.
        model: that makes it.
        geometry: that it is made with.
    """
    attention = attention_of(model.unet, model.vae, model.text_encoders)
    numerics = fingerprint(model.device, model.dtype, model.vae.dtype, geometry, attention)
    prompts = (request.prompt, request.negative_prompt) if request.is_guided else (request.prompt,)
    called = set().union(*(called_inversions(prompt, model.inversions) for prompt in prompts))
    inversions = {name: model.inversions[name].digest for name in sorted(called)}
    if (image := request.image) is None:
        known = request
    else:  # records outlive the images, and need no pixels
        known = replace(request, image=Named(image.name, image.digest))
    return Record(
        request=known,
        model=_made_with(model),
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
