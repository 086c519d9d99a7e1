"""A run of Batch Generate: what earlier runs left of it, what is seen of it, what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..core.errors import FailedImage, OutOfMemory, OutputError
from ..core.wording import counted, duration
from . import host
from .image_batches import ImageBatches

if TYPE_CHECKING:
    import torch

    from ..core.engine.engine import Engine
    from ..core.engine.preview import BatchPreview
    from ..core.engine.progress import Progress
    from ..core.request.image_request import SizedRequest
    from ..core.request.record import Record

#: (H, W, 3): uint8, or float32 in 0..1 where images are wanted as decoded.
Pixels = NDArray[Any]

#: Images, and seconds, from which on a run says first what it will take.
MANY, LONG = 1000, 3600

#: What to do about an image that comes out as NaN.
ON_ERROR = ("stop", "skip")

#: Most pixels across of what is kept to be shown of images from earlier runs.
_SHOWN = 512


class Rendering:
    """The images of some requests, one after the other as they are there.

    Attributes:
        rows: what each image is made from.
        failures: those that could not be made, by place, and why.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Sequence[SizedRequest],
        rows: Sequence[Record],
        *,
        unrounded: bool,
        skips: bool,
        title: str,
        node_id: str,
    ) -> None:
        """Nothing is made yet.

        Args:
            engine: to make them.
            requests: of the images.
            rows: their records.
            unrounded: whether to keep the images as decoded.
            skips: whether the run goes on without images that fail.
            title: what is made, for the person.
            node_id: that the person sees it on.
        """
        self.rows = list(rows)
        self.failures: dict[int, FailedImage] = {}
        self._engine = engine
        self._requests = requests
        self._skips = skips
        self._title = title
        self._node_id = node_id
        self._store = _Store(unrounded, node_id)
        self._unrounded = unrounded
        self._left: dict[int, None] = {}

    def images(self, but: Collection[int] = ()) -> Iterator[tuple[int, Pixels]]:
        """Place and pixels of each image, in any order, those of earlier runs first.

        An image that is handed out is in the host's store, and stays there whatever comes.

        Args:
            but: places of images that nobody needs.

        Raises:
            FailedImage: an image came out as NaN, and failures are not skipped, or all failed.
        """
        wanted = [index for index in range(len(self.rows)) if index not in but]
        kept = [index for index in wanted if self._store.has(self.rows[index])]
        missing = sorted({*wanted} - {*kept})
        title, there = self._title, len(self.rows) - len(missing)
        if there:
            title = f"{title}, {there} of {counted(len(self.rows), 'images')} from earlier runs"
        host.current().tell(title, self._node_id)
        display = _Display(self._engine, self._requests, self._node_id)
        for index in kept:
            image = self._store.get(self.rows[index])
            if image is None:
                missing.append(index)
            else:
                display.finish(index, image)
                yield index, image
        if missing:
            yield from self._make(sorted(missing), display)
        if self.failures:
            self._tell_failures()
        display.end(title)

    def collect(
        self, each: Callable[[int, Pixels], None] = lambda index, image: None
    ) -> tuple[list[torch.Tensor], list[Record]]:
        """All images and their rows, without those that failed.

        Args:
            each: called with place and pixels of each image as it is there.

        Returns:
            Batches of neighbours of one size, and a row for each image.
        """
        sizes = [(request.height, request.width) for request in self._requests]
        batches = ImageBatches(sizes, host.current().temp_folder())
        for index, image in self.images():
            batches.put(index, image)
            each(index, image)
        rows = [row for index, row in enumerate(self.rows) if index not in self.failures]
        return batches.tensors(self.failures), rows

    def _make(self, missing: Sequence[int], display: _Display) -> Iterator[tuple[int, Pixels]]:
        """The images at these places, one at a time once memory was short for several."""
        self._left = dict.fromkeys(missing)
        try:
            try:
                yield from self._portion(missing, display)
            except OutOfMemory:
                if len(self._left) < 2:
                    raise
            if self._left:
                host.current().tell(
                    "Memory is short. The others are made one at a time, which changes no bits.",
                    self._node_id,
                )
            for index in list(self._left):
                yield from self._portion([index], display)
        except BaseException:
            done = self._done - len(self.failures)
            kept = f"; {done} of {counted(len(self.rows), 'images')} are kept for the next run"
            display.end("Stopped" + kept * self._store.is_there)
            raise

    def _portion(self, places: Sequence[int], display: _Display) -> Iterator[tuple[int, Pixels]]:
        """The images at these places, as many in flight as there is room for."""
        requests = [self._requests[index] for index in places]
        display.begin(places, self._done)
        memory = self._engine.working_memory(requests)
        with host.current().holding(self._engine.model, memory):
            for image in self._engine.generate(
                requests,
                on_step=display.update,
                on_failure=lambda at, error: self._fail(places[at], error),
            ):
                index = places[image.index]
                own = image.decoded.numpy() if self._unrounded else image.pixels
                self._note(index, image.record)
                self._store.put(self.rows[index], own)
                display.finish(index, own)
                del self._left[index]
                yield index, own

    @property
    def _done(self) -> int:
        """How many images are there, or failed."""
        return len(self.rows) - len(self._left)

    def _note(self, index: int, made: Record) -> None:
        """Keep what an image was made with where it is not what was planned, as others may."""
        planned = self.rows[index]
        if made.identity != planned.identity:
            self.rows[index] = replace(planned, numerics=made.numerics, identity=made.identity)

    def _fail(self, index: int, error: FailedImage) -> None:
        self.failures[index] = error
        del self._left[index]
        if not self._skips or len(self.failures) == len(self.rows):
            raise FailedImage(
                f"{error.expected} of {self._name(index)}",
                error.got,
                f"{error.action} With on_error set to skip, the other images are made."
                if not self._skips
                else error.action,
            )

    def _tell_failures(self) -> None:
        first = list(self.failures.items())[:10]
        lines = [f"{self._name(index)}: {error}" for index, error in first]
        more = len(self.failures) - len(first)
        lines += [f"and {more} more"] if more else []
        failed = f"{len(self.failures)} of {counted(len(self.rows), 'images')} failed."
        host.current().tell("\n".join([failed, *lines]), self._node_id)

    def _name(self, index: int) -> str:
        return f"image {index + 1} of {len(self.rows)} (seed {self._requests[index].seed})"


class _Store:
    """The host's store as long as it works: a store that fails costs speed, not the run."""

    def __init__(self, unrounded: bool, node_id: str) -> None:
        self._store = host.current().store()
        self._unrounded = unrounded
        self._node_id = node_id

    @property
    def is_there(self) -> bool:
        return self._store is not None

    def has(self, row: Record) -> bool:
        return self._store is not None and self._store.has(row.identity, unrounded=self._unrounded)

    def get(self, row: Record) -> Pixels | None:
        if self._store is None:
            return None
        return self._store.get(row.identity, unrounded=self._unrounded)

    def put(self, row: Record, image: Pixels) -> None:
        if self._store is None:
            return
        try:
            self._store.put(row.identity, image, row.to_json())
        except OutputError as error:
            self._store = None
            host.current().tell(
                f"Finished images are not kept for later runs: {error}", self._node_id
            )


class _Display:
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
        if self._host is None:
            self._host = self._begin(progress.total_steps)
        sheet = None
        if self._preview is not None:
            running = {self._places[lane.index]: lane for lane in progress.running}
            over = progress.images == progress.total_images
            sheet = self._preview.draw(running, last=over)
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
            from ..core.engine.preview import BatchPreview

            sizes = [(r.width, r.height) for r in self._requests]
            self._preview = BatchPreview(self._engine.model, sizes)
            for index, image in self._earlier.items():
                self._preview.finish(index, image)
        self._earlier.clear()
        return display

    def finish(self, index: int, image: Pixels) -> None:
        if self._preview is not None:
            self._preview.finish(index, image)
        elif self._host is None:
            # Every so many pixels: thousands of images may come before the first that is made.
            every = -(-max(image.shape[:2]) // _SHOWN)
            self._earlier[index] = image[::every, ::every].copy()

    def end(self, text: str) -> None:
        if self._host is not None:
            self._host.end(text)
