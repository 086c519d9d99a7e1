"""The part of a request that is read by the text encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequest
from . import kinds
from .fields import When, declare

#: What stands for a negative prompt where there is none.
EMPTY_NEGATIVES = ("empty", "zeros")

GUIDED = When("guidance is on", lambda request: request.is_guided)
_NO_NEGATIVE = When(
    "guidance is on and negative_prompt is empty",
    lambda request: request.is_guided and not request.negative_prompt,
)
_NEGATIVE_SKIPS_OTHERS = When(
    "guidance is on, a text is negative and it is not clip_skip",
    lambda request: (
        request.is_guided
        and not (request.empty_negative == "zeros" and not request.negative_prompt)
        and request.negative_clip_skip not in (None, request.clip_skip)
    ),
)

_LISTS: dict[str, Any] = {
    "advice": "Give one text for an image; combine() makes requests of lists."
}


def _check_empty_negative(name: str) -> None:
    if name not in EMPTY_NEGATIVES:
        raise InvalidRequest(
            f"one of {', '.join(EMPTY_NEGATIVES)} for empty_negative", repr(name), "Choose one."
        )


@dataclass(frozen=True, kw_only=True)
class Text:
    """What an image should show, and how that is read.

    Attributes:
        prompt: what to show; a text of at most 20,000 characters.
        negative_prompt: what not to show, likewise.
        empty_negative: what stands for an empty negative prompt: `empty`, its text encoded like any
            other, as ComfyUI does; or `zeros` in place of all embeddings, as diffusers does with a
            model whose index says `force_zeros_for_empty_prompt`, SDXL base among them. None: as
            the model says.
        clip_skip: 0 to 30; layers of the text encoders to leave out, counted from the one that SDXL
            was trained with, the last but one, for both prompts. That is what ComfyUI's CLIP Set
            Last Layer does; its -2, and AUTOMATIC1111's 2, are 0 here.
        negative_clip_skip: likewise, of the negative prompt alone. diffusers, which counts as we
            do, skips layers for the prompt alone: that is 0. None: as clip_skip.
    """

    prompt: str = field(metadata=declare(kinds.Text(), **_LISTS))
    negative_prompt: str = field(default="", metadata=declare(kinds.Text(), only=GUIDED, **_LISTS))
    empty_negative: str | None = field(
        default=None,
        metadata=declare(
            kinds.Name(_check_empty_negative),
            called="an empty_negative",
            only=_NO_NEGATIVE,
            unless="empty",
            advice="Write empty or zeros.",
        ),
    )
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
    negative_clip_skip: int | None = field(
        default=None,
        metadata=declare(
            kinds.Whole(0, 30),
            only=_NEGATIVE_SKIPS_OTHERS,
            advice="Leave it open for that of the prompt; 0 is diffusers' way.",
        ),
    )
