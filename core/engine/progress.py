"""How far a run is, in numbers and in words."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..wording import counted, duration

if TYPE_CHECKING:
    from .lane import Lane

#: UNet calls that the pace is taken over: some images long, and soon rid of a slow start.
CALLS = 100


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        steps: taken; a step is one image's part in one UNet call.
        total_steps: of all images.
        images: finished and handed out.
        total_images: asked for.
        running: the images in work, as the newest UNet call left them. Their `estimate` is for
            looking at; it changes nothing.
    """

    steps: int
    total_steps: int
    images: int
    total_images: int
    running: tuple[Lane, ...] = ()

    def after(self, steps: int, images: int, lanes: list[Lane]) -> Progress:
        """The progress when so many more are done, and these lanes are not."""
        return self._replace(
            steps=self.steps + steps, images=self.images + images, running=tuple(lanes)
        )


class Pace:
    """Says how many images are done, how fast they come and when they will be there."""

    def __init__(
        self,
        total_steps: int,
        total_images: int,
        kept: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at none.

        Args:
            total_steps: UNet steps to be taken.
            total_images: of the run, those included that were there before.
            kept: how many were there before, for which no step is taken.
            clock: seconds from any point on.
        """
        self._total_steps = total_steps
        self._total_images = total_images
        self._new_images = total_images - kept
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque(maxlen=CALLS)

    def update(self, steps: int) -> None:
        """Take note that so many steps are done by now."""
        # The first steps stand for what is done once: encoding prompts, warming up.
        if steps and (not self._seen or steps > self._seen[-1][1]):
            self._seen.append((self._clock(), steps))

    def describe(self, images: int) -> str:
        """Such as `12 of 40 images, 1.8 images/s, 16 s left`.

        Args:
            images: done by now, those that were there before included.
        """
        done = f"{images} of {counted(self._total_images, 'images')}"
        if images == self._total_images:
            return done
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return f"{done}, estimating the time left"
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        seconds = (end - start) / (last - first)
        left = seconds * (self._total_steps - last)
        an_image = seconds * self._total_steps / self._new_images
        return f"{done}, {_speed(an_image)}, {duration(left)} left"


def _speed(seconds: float) -> str:
    """Seconds for an image -> the larger of the two numbers that tell it."""
    return f"{1 / seconds:.1f} images/s" if seconds < 1 else f"{seconds:.1f} s per image"
