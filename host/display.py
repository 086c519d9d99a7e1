"""What a person sees of a run of images: how far it is, and the batch as it grows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..core.wording import duration
from . import host

if TYPE_CHECKING:
    from ..core.engine.engine import Engine
    from ..core.engine.preview.batch_preview import BatchPreview
    from ..core.engine.progress import Progress
    from ..core.request.image_request import SizedRequest

#: (H, W, 3): uint8, or float32 in 0..1 where images are wanted as decoded.
Pixels = NDArray[Any]

#: Images, and seconds, from which on a run says first what it will take.
MANY, LONG = 1000, 3600

#: Most pixels across of what is kept to be shown of images from earlier runs.
_SHOWN = 512


class Display:
    """Passes the engine's progress on to the host, with a look at the batch where it shows one."""

    def __init__(self, engine: Engine, requests: Sequence[SizedRequest], node_id: str) -> None:
        self._engine = engine
        self._requests = requests
        self._places: Sequence[int] = ()
        self._done = self._steps = self._before = 0
        self._node_id = node_id
        self._host: host.ProgressDisplay | None = None
        self._preview: BatchPreview | None = None
        self._earlier: dict[int, Pixels] = {}
        self._first: tuple[float, int] | None = None
        self._foretold = False

    def begin(self, places: Sequence[int], done: int) -> None:
        """The images at these places are made now, when so many are done with."""
        self._places = places
        self._done, self._before = done, self._steps

    def update(self, progress: Progress) -> None:
        """Show how far the engine is; raises what `Host.check_cancelled` does."""
        if self._host is None:
            self._host = self._begin(progress.total_steps)
        sheet = None
        if self._preview is not None:
            running = {self._places[lane.index]: lane for lane in progress.running}
            sheet = self._preview.draw(running)
        self._steps = self._before + progress.steps
        self._host.update(self._steps, self._done + progress.images, sheet)
        self._foretell(progress)
        if not any(lane.is_done for lane in progress.running):  # what has all its steps is finished
            host.current().check_cancelled()

    def _foretell(self, progress: Progress) -> None:
        """Say once how long a large run takes, when the first image shows it."""
        now = time.monotonic()
        if self._first is None and progress.steps:
            self._first = now, progress.steps  # what is done once is done by then
        if self._foretold or self._before or self._first is None or not progress.images:
            return
        start, steps = self._first
        if progress.steps == steps:
            return
        self._foretold = True
        left = (now - start) / (progress.steps - steps) * (progress.total_steps - progress.steps)
        if progress.total_images > MANY or left > LONG:
            host.current().tell(
                f"It takes about {duration(left)} more, as the first images went.", self._node_id
            )

    def _begin(self, total_steps: int) -> host.ProgressDisplay:
        display = host.current().progress(
            total_steps, len(self._requests), kept=self._done, node_id=self._node_id
        )
        if display.shows_preview:
            from ..core.engine.preview.batch_preview import BatchPreview

            sizes = [(r.width, r.height) for r in self._requests]
            self._preview = BatchPreview(self._engine.model, sizes)
            for index, image in self._earlier.items():
                self._preview.finish(index, image)
        self._earlier.clear()
        return display

    def finish(self, index: int, image: Pixels) -> None:
        """Show a finished image in its place."""
        if self._preview is not None:
            self._preview.finish(index, image)
        elif self._host is None:
            # Every so many pixels: thousands of images may come before the first that is made.
            every = -(-max(image.shape[:2]) // _SHOWN)
            self._earlier[index] = image[::every, ::every].copy()

    def end(self, text: str) -> None:
        """Show what has become of the run."""
        if self._host is not None:
            # Not when the engine's last image is there: some may have failed, or be made after it.
            sheet = None if self._preview is None else self._preview.draw({}, last=True)
            self._host.end(text, sheet)
