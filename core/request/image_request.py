"""What one image is asked to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequest
from ..images.source import SourceImage
from .fields import declared, settle
from .latents import SourceLatents
from .named import Named
from .sampling import Sampling
from .size import Size
from .start import Start
from .text import Text


@dataclass(frozen=True, kw_only=True)
class ImageRequest(Start, Sampling, Size, Text):
    """Everything that one image depends on, beside the model and the numerics.

    Its fields are those of its parts.

    Raises:
        InvalidRequest: a value is out of its range.
        InvalidImage: the image or the latents cannot be used.
    """

    def __post_init__(self) -> None:
        """Check every value, and take the image or the latents in."""
        settle(self)
        if self.guidance_start >= self.guidance_end:
            raise InvalidRequest(
                "a guidance_start below guidance_end",
                f"{self.guidance_start} and {self.guidance_end}",
                "Set guidance_scale to 1 to turn guidance off.",
            )
        if self.image is not None and self.latents is not None:
            raise InvalidRequest(
                "one thing to start from", "both an image and latents", "Leave one of them out."
            )
        start = self.picture
        if start is None or isinstance(start, Named):
            return
        self._check_size(start)
        if isinstance(start, SourceLatents) and start.is_empty:
            vars(self).update(latents=None, width=start.width, height=start.height)
        else:
            self.check_steps()

    def _check_size(self, start: SourceImage | SourceLatents) -> None:
        what, load = ("an input image", "load the images at")
        if isinstance(start, SourceLatents):
            what, load = ("latents of an image", "make latents of")
        for side in ("width", "height"):
            asked, own = getattr(self, side), getattr(start, side)
            if asked not in (None, own):
                raise InvalidRequest(
                    f"{what} whose {side} is the {asked} pixels asked for",
                    f"{start.name or what} with {own}",
                    f"Leave width and height open, or {load} this size.",
                )
            (known,) = (one for one in declared(Size) if one.name == side)
            known.kind.check(f"a {side} of the input image", own, "")

    def check_steps(self) -> None:
        """Check that an image or latents to start from leave steps to run.

        Raises:
            InvalidRequest: it leaves none.
        """
        if int(self.num_inference_steps * self.strength) < 1:
            raise InvalidRequest(
                "at least one step to run, that is steps * strength of 1 or more",
                f"{self.num_inference_steps} * {self.strength}",
                "Raise the strength or the steps.",
            )

    def size(self, native: int) -> tuple[int, int]:
        """Width and height in pixels: its own, its image's or latents', else `native`."""
        own = None if isinstance(self.picture, Named) else self.picture
        return (
            self.width or (own.width if own else native),
            self.height or (own.height if own else native),
        )

    def sized(self, native: int, **others: Any) -> SizedRequest:
        """The request with its width and height filled in.

        Its values are known to be sound, so only new ones are checked: there may be a million.

        Args:
            native: pixels of both where neither the request nor its image says more.
            **others: values of other fields, in place of its own.

        Raises:
            InvalidRequest: a new value is out of its range.
        """
        if isinstance(self, SizedRequest) and not others:
            return self
        values = {**dict(zip(("width", "height"), self.size(native), strict=True)), **others}
        kind = type(self) if isinstance(self, SizedRequest) else _sized(type(self))
        known = {one.name: one for one in declared(kind)}
        made = object.__new__(kind)
        vars(made).update({name: getattr(self, name) for name in known})
        vars(made).update({name: known[name].check(value) for name, value in values.items()})
        return made


@dataclass(frozen=True, kw_only=True)
class SizedRequest(ImageRequest):
    """A request whose width and height are known, as an image is made of it."""

    width: int = field()
    height: int = field()

    @property
    def time_ids(self) -> tuple[int, ...]:
        """What SDXL is told of sizes, in its order: original height and width, crop, target."""
        return (
            self.original_height or self.height,
            self.original_width or self.width,
            self.crop_top,
            self.crop_left,
            self.target_height or self.height,
            self.target_width or self.width,
        )


_SIZED: dict[type[ImageRequest], type[SizedRequest]] = {ImageRequest: SizedRequest}


def _sized(kind: type[ImageRequest]) -> type[SizedRequest]:
    """The class of sized requests with all fields of another."""
    if kind not in _SIZED:
        made = type(f"Sized{kind.__name__}", (SizedRequest, kind), {})
        _SIZED[kind] = dataclass(frozen=True, kw_only=True)(made)
    return _SIZED[kind]
