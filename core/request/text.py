"""The part of a request that is read by the text encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import kinds
from .fields import Condition, declare

GUIDED = Condition("guidance is on", lambda request: request.is_guided)

_LISTS: dict[str, Any] = {
    "advice": "Give one text for an image; combine() makes requests of lists."
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """What an image should show, and how that is read.

    Attributes:
        prompt: what to show; a text of at most 20,000 characters.
        negative_prompt: what not to show, likewise; the empty one is encoded like any other.
        clip_skip: 0 to 30; layers of the text encoders to leave out, counted from the one that SDXL
            was trained with, the last but one; diffusers' number, which AUTOMATIC1111 calls 2 more.
    """

    prompt: str = field(metadata=declare(kinds.Text(), **_LISTS))
    negative_prompt: str = field(default="", metadata=declare(kinds.Text(), only=GUIDED, **_LISTS))
    clip_skip: int = field(
        default=0,
        metadata=declare(
            kinds.Whole(0, 30),
            unless=0,
            advice="0 suits most images.",
            a1111="Clip skip",
            a1111_offset=2,  # counted from the last layer there
        ),
    )
