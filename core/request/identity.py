"""The name of an image: a hash over everything that its bits depend on.

The canonical form is two lines of JSON with sorted keys, no blanks and ASCII escapes, first what
all images of a run share, then the image's own:

    {"model": SHA-256, "numerics": fingerprint, "version": 2}
    {"inversions": …, "request": …}

where `request` holds the fields of the request that make a difference to the image, as
docs/reproducibility.md lists them: whole numbers as such, others as Python's shortest floats, an
input image by the SHA-256 of its pixels. Where prompts call textual inversions, `inversions` stands
beside it: name -> SHA-256. A release that changes the bits of an image, or this form, raises the
version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .fields import canonical
from .image_request import SizedRequest

if TYPE_CHECKING:
    from hashlib import _Hash

VERSION = 2


def identity(
    request: SizedRequest,
    model_digest: str,
    numerics: Mapping[str, Any],
    inversions: Mapping[str, str] | None = None,
) -> str:
    """SHA-256 of the canonical form, in hexadecimal.

    Args:
        request: of which the image is made.
        model_digest: `Model.digest`.
        numerics: of `numerics.fingerprint`.
        inversions: SHA-256 of the textual inversions that its prompts call, by name.
    """
    own: dict[str, Any] = {"request": canonical(request)}
    if inversions:
        own["inversions"] = dict(inversions)
    hashed = _shared(model_digest, _json(numerics)).copy()
    hashed.update(_json(own).encode())
    return hashed.hexdigest()


@lru_cache(maxsize=8)
def _shared(model_digest: str, numerics: str) -> _Hash:
    """The hash of the first line, to be copied: the thousands of images of a run have one."""
    line = {"model": model_digest, "numerics": json.loads(numerics), "version": VERSION}
    return hashlib.sha256(f"{_json(line)}\n".encode())


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
