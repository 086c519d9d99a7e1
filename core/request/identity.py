"""The name of an image: a hash over everything that its bits depend on.

The canonical form is JSON with sorted keys, no blanks and ASCII escapes:

    {"model": SHA-256, "numerics": fingerprint, "request": …, "version": 1}

where `request` holds `prompt`, `seed`, `width`, `height`, `num_inference_steps`, `scheduler`,
`guidance_scale`; `negative_prompt` if guidance is on (if off, the scale is written as 1.0, for all
scales up to 1 make the same image); `strength` and `image` (SHA-256 of its pixels) if there is an
input image; and of the others those that make a difference: `original_width`, `original_height`,
`target_width`, `target_height` where they are not the image's own, `crop_left`, `crop_top`,
`clip_skip` and, if guidance is on, `guidance_rescale` where they are not 0. Whole numbers are
written as such, the scales as Python's shortest floats. Where prompts call textual inversions,
`inversions` stands beside `request`: name -> SHA-256. A release that changes the bits of an image,
or this form, raises the version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .image_request import ImageRequest

VERSION = 1


def identity(
    request: ImageRequest,
    model_digest: str,
    numerics: Mapping[str, Any],
    inversions: Mapping[str, str] | None = None,
) -> str:
    """SHA-256 of the canonical form, in hexadecimal.

    Args:
        request: with its width and height filled in.
        model_digest: `Model.digest`.
        numerics: of `numerics.fingerprint`.
        inversions: SHA-256 of the textual inversions that its prompts call, by name.
    """
    form: dict[str, Any] = {
        "version": VERSION,
        "request": canonical(request),
        "model": model_digest,
        "numerics": dict(numerics),
    }
    if inversions:
        form["inversions"] = dict(inversions)
    text = json.dumps(form, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(request: ImageRequest) -> dict[str, Any]:
    """The fields of a request that its image depends on, in plain values."""
    form: dict[str, Any] = {
        "prompt": request.prompt,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": float(request.guidance_scale) if request.is_guided else 1.0,
        "scheduler": request.scheduler,
    }
    if request.is_guided:
        form["negative_prompt"] = request.negative_prompt
    if request.image is not None:
        form |= {"strength": float(request.strength), "image": request.image.digest}
    return form | conditioning(request)


def conditioning(request: ImageRequest) -> dict[str, int | float]:
    """Those of the fields that few requests set which make a difference to its image."""
    own = {"width": request.width, "height": request.height}
    form: dict[str, int | float] = {
        f"{kind}_{side}": value
        for kind in ("original", "target")
        for side, usual in own.items()
        if (value := getattr(request, f"{kind}_{side}")) not in (None, usual)
    }
    for name in ("crop_left", "crop_top", "clip_skip"):
        if value := getattr(request, name):
            form[name] = value
    if request.is_guided and request.guidance_rescale:
        form["guidance_rescale"] = float(request.guidance_rescale)
    if request.variation_strength:
        form["variation_seed"] = request.variation_seed
        form["variation_strength"] = float(request.variation_strength)
    return form
