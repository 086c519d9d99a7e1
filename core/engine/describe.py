"""Requests, a model and its numerics -> the records of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..models.model import Model
from ..numerics import Geometry, fingerprint
from ..request.identity import identity
from ..request.image_request import SizedRequest
from ..request.named import Named
from ..request.record import Record
from .backend import Backend
from .diffusers_backend import backend_of


class Describer:
    """Makes the records of one run.

    What the parts of the model compute with is read once, since that takes milliseconds.
    """

    def __init__(self, model: Model | Backend) -> None:
        """Read it off the model.

        Args:
            model: that makes the images; `pinned`, as decoding may change its VAE for a while.
        """
        self._model = backend_of(model)
        self._made_with = self._model.made_with
        self._attention = self._model.attention()
        self._vae_dtype = self._model.vae_dtype

    def numerics(self, geometry: Geometry) -> dict[str, Any]:
        """What images are computed with now, in calls of this geometry."""
        model = self._model
        return fingerprint(
            model.device,
            model.dtype,
            self._vae_dtype,
            geometry,
            self._attention,
            model.libraries(),
        )

    def describe(self, request: SizedRequest, numerics: dict[str, Any]) -> Record:
        """The record that goes along with an image.

        Args:
            request: that it is made of.
            numerics: of `numerics`, for its geometry.
        """
        model = self._model
        prompts = [request.prompt, *([request.negative_prompt] if request.is_guided else [])]
        inversions = model.inversions(prompts)
        known = request
        if (start := request.picture) is not None:  # records outlive it, and need no pixels
            own = Named(start.name, start.digest)
            known = replace(request, image=own) if request.image else replace(request, latents=own)
        return Record(
            request=known,
            model=self._made_with,
            numerics=numerics,
            identity=identity(request, model.digest, numerics, inversions),
            inversions=inversions,
        )
