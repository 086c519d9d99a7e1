"""What one image is asked to be, and how lists combine into such requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from ..engine.schedulers import check_scheduler
from ..errors import InvalidRequest
from ..images.source import SourceImage
from ..wording import counted
from .seeds import MAX_SEED

#: Width and height must be a multiple of this, the pixels of one latent.
PIXELS_PER_LATENT = 8

#: Ways to combine lists; see `combine`.
COMBINATIONS = ("zip", "product", "cycle")

#: Fields that few requests set; in files and rows they stand where they make a difference.
CONDITIONING = (
    "original_width",
    "original_height",
    "crop_left",
    "crop_top",
    "target_width",
    "target_height",
    "clip_skip",
    "guidance_rescale",
    "variation_seed",
    "variation_strength",
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """Everything that one image depends on, beside the model and the numerics.

    Attributes:
        prompt: what to show.
        seed: 0 to 2**64 - 1, of the image's own generator.
        negative_prompt: what not to show; the empty one is encoded like any other.
        width: in pixels, a multiple of 8. None: the input image's, else the model's own size.
        height: as width.
        num_inference_steps: 1 or more.
        guidance_scale: 0 or more; up to 1 guidance is off, and the negative prompt unused.
        scheduler: a name of `core.schedulers`.
        strength: over 0, up to 1; the share of the steps that is run on an input image. Without
            an image it is not used. (Not ComfyUI's denoise, which keeps the number of steps.)
        image: what to start from, None for noise; anything that `SourceImage.of` takes.
        original_width: in pixels; what SDXL is told that the picture had before it was scaled
            (arXiv:2307.01952, 2.2). Small values give the look of small pictures. None: `width`.
        original_height: as original_width.
        crop_left: pixels that SDXL is told were cut off at the left; more than 0 moves what is
            shown out of the middle.
        crop_top: as crop_left.
        target_width: in pixels; what SDXL is told that the picture has now. None: `width`.
        target_height: as target_width.
        clip_skip: layers of the text encoders to leave out, counted from the one that SDXL was
            trained with, the last but one; diffusers' number, which AUTOMATIC1111 calls 2 more.
        guidance_rescale: 0 to 1; how far the spread of a guided prediction is brought back to that
            of the prompt's alone (arXiv:2305.08891, 3.4), which v-prediction models want.
        variation_seed: of a second noise that the first is turned towards; 0 to 2**64 - 1.
        variation_strength: 0 to 1, how far: 0 is the seed's own noise, 1 the variation seed's.

    Raises:
        InvalidRequest: a value is out of its range.
        InvalidImage: the image cannot be used.
    """

    prompt: str
    seed: int
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    scheduler: str = "euler"
    strength: float = 0.5
    image: SourceImage | None = None
    original_width: int | None = None
    original_height: int | None = None
    crop_left: int = 0
    crop_top: int = 0
    target_width: int | None = None
    target_height: int | None = None
    clip_skip: int = 0
    guidance_rescale: float = 0.0
    variation_seed: int = 0
    variation_strength: float = 0.0

    def __post_init__(self) -> None:
        """Check every value, and take the image in."""
        _check(
            isinstance(self.prompt, str) and isinstance(self.negative_prompt, str),
            "text for prompt and negative_prompt",
            f"{self.prompt!r} and {self.negative_prompt!r}",
            "Give one text for an image; combine() makes requests of lists.",
        )
        for seed in (self.seed, self.variation_seed):
            _check(
                _is_int(seed) and 0 <= seed <= MAX_SEED,
                f"a seed from 0 to {MAX_SEED}",
                repr(seed),
                "Choose a whole number in that range.",
            )
        _check(
            _is_int(self.num_inference_steps) and self.num_inference_steps >= 1,
            "1 step or more",
            repr(self.num_inference_steps),
            "20 to 30 steps suit most models.",
        )
        _check(
            math.isfinite(self.guidance_scale) and self.guidance_scale >= 0,
            "a guidance scale (cfg) of 0 or more",
            repr(self.guidance_scale),
            "5 to 8 suits most models; up to 1 turns guidance off.",
        )
        _check(
            0 < self.strength <= 1,
            "a strength over 0, up to 1",
            repr(self.strength),
            "Small values stay near the input image, 1 leaves little of it.",
        )
        check_scheduler(self.scheduler)
        if self.image is not None:
            object.__setattr__(self, "image", SourceImage.of(self.image))
            self._check_image()
        for side in ("width", "height"):
            self._check_side(side, getattr(self, side))
        self._check_conditioning()

    def _check_conditioning(self) -> None:
        for name in ("original_width", "original_height", "target_width", "target_height"):
            value = getattr(self, name)
            _check(
                value is None or (_is_int(value) and value > 0),
                f"{name} in pixels, 1 or more",
                repr(value),
                "Leave it open for the image's own size.",
            )
        for name in ("crop_left", "crop_top", "clip_skip"):
            value = getattr(self, name)
            _check(
                _is_int(value) and value >= 0,
                f"a whole number of 0 or more for {name}",
                repr(value),
                "0 suits most images.",
            )
        _check(
            0 <= self.guidance_rescale <= 1,
            "a guidance_rescale of 0 to 1",
            repr(self.guidance_rescale),
            "0 is off; 0.7 suits models of v-prediction.",
        )
        _check(
            0 <= self.variation_strength <= 1,
            "a variation_strength of 0 to 1",
            repr(self.variation_strength),
            "0 is off; 0.1 to 0.3 stays near the image of the seed.",
        )

    def _check_side(self, name: str, value: int | None) -> None:
        _check(
            value is None or (_is_int(value) and value > 0 and value % PIXELS_PER_LATENT == 0),
            f"a {name} that is a multiple of {PIXELS_PER_LATENT} pixels",
            repr(value),
            _nearest(value),
        )

    def _check_image(self) -> None:
        assert self.image is not None
        for side in ("width", "height"):
            asked, own = getattr(self, side), getattr(self.image, side)
            _check(
                asked is None or asked == own,
                f"an input image whose {side} is the {asked} pixels asked for",
                f"{self.image.name or 'an image'} with {own}",
                "Leave width and height open, or load the images at this size.",
            )
            self._check_side(f"{side} of the input image", own)
        _check(
            int(self.num_inference_steps * self.strength) >= 1,
            "at least one step to run, that is steps * strength of 1 or more",
            f"{self.num_inference_steps} * {self.strength}",
            "Raise the strength or the steps.",
        )

    @property
    def time_ids(self) -> tuple[int, ...]:
        """What SDXL is told of sizes, in its order: original height and width, crop, target."""
        assert self.width is not None and self.height is not None
        return (
            self.original_height or self.height,
            self.original_width or self.width,
            self.crop_top,
            self.crop_left,
            self.target_height or self.height,
            self.target_width or self.width,
        )

    @property
    def is_guided(self) -> bool:
        """Whether classifier-free guidance is on, which costs a second row in every UNet call."""
        return self.guidance_scale > 1


def combine(mode: str, **lists: Sequence[T]) -> list[tuple[T, ...]]:
    """Rows of one value from each list, in the lists' order.

    Args:
        mode: `zip`: the first with the first and so on, where a list of one serves for all;
            `product`: each with each, the last list running fastest;
            `cycle`: as many as the longest list, the others starting again at their ends.
        lists: their names are used in messages.

    Raises:
        InvalidRequest: a list is empty, or their lengths do not fit a zip; the message names them.
    """
    _check(
        mode in COMBINATIONS,
        "a way to combine",
        repr(mode),
        f"Choose one of {', '.join(COMBINATIONS)}.",
    )
    for name, values in lists.items():
        _check(len(values) > 0, f"at least one of {name}", "none", f"Add to the list of {name}.")
    if mode == "product":
        return list(product(*lists.values()))
    lengths = {name: len(values) for name, values in lists.items()}
    longest = max(lengths.values())
    if mode == "zip":
        _check(
            all(length in (1, longest) for length in lengths.values()),
            "lists of equal length (or of one entry, which serves for all)",
            " and ".join(counted(length, name) for name, length in lengths.items()),
            "Even them out, or combine by product (each with each) or cycle (the shorter repeats).",
        )
    return [tuple(values[k % len(values)] for values in lists.values()) for k in range(longest)]


def _check(fits: bool, expected: str, got: str, action: str) -> None:
    if not fits:
        raise InvalidRequest(expected, got, action)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _nearest(value: object) -> str:
    if not _is_int(value) or value <= 0:  # type: ignore[operator]
        return "512, 768 and 1024 are common."
    below = value // PIXELS_PER_LATENT * PIXELS_PER_LATENT  # type: ignore[operator]
    return f"The nearest are {below or PIXELS_PER_LATENT} and {below + PIXELS_PER_LATENT}."
