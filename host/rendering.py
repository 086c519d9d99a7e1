"""A run of Batch Generate: what earlier runs left of it, what is seen of it, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.errors import FailedImage, OutOfMemory, OutputError
from ..core.store.store import Stored
from ..core.wording import counted
from . import host
from .display import Display, Pixels
from .image_batches import ImageBatches
from .latents import Latents, latents_shape, to_latents

if TYPE_CHECKING:
    import torch

    from ..core.engine.engine import Engine
    from ..core.request.image_request import SizedRequest
    from ..core.request.record import Record

#: What to do about an image that comes out as NaN.
ON_ERROR = ("stop", "skip")


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
        return ((index, made.image) for index, made in self._finished(but))

    def collect(
        self,
        each: Callable[[int, Pixels], None] = lambda index, image: None,
        unread: Collection[str] = (),
    ) -> tuple[list[torch.Tensor], list[Record], list[Latents]]:
        """All images, their rows and their latents, without those that failed.

        Args:
            each: called with place and pixels of each image as it is there.
            unread: of `images` and `latents`, what nobody needs: no memory is taken for it.

        Returns:
            Batches of neighbours of one size, a row for each image, and batches of latents as
            those of the images.
        """
        sizes = [(request.height, request.width) for request in self._requests]
        shapes = {
            "images": [(*size, 3) for size in sizes],
            "latents": [latents_shape(*size) for size in sizes],
        }
        folder = host.current().temp_folder()
        images, latents = (
            ImageBatches([] if name in unread else own, folder) for name, own in shapes.items()
        )
        for index, made in self._finished():
            if "images" not in unread:
                images.put(index, made.image)
            if "latents" not in unread:
                latents.put(index, made.latents)
            each(index, made.image)
        rows = [row for index, row in enumerate(self.rows) if index not in self.failures]
        failed = self.failures
        return images.tensors(failed), rows, to_latents(latents.tensors(failed))

    def _finished(self, but: Collection[int] = ()) -> Iterator[tuple[int, Stored]]:
        """Each image but some, as `images` hands them out."""
        wanted = [index for index in range(len(self.rows)) if index not in but]
        kept = [index for index in wanted if self._store.has(self.rows[index])]
        missing = sorted({*wanted} - {*kept})
        title, there = self._title, len(self.rows) - len(missing)
        if there:
            title = f"{title}, {there} of {counted(len(self.rows), 'images')} from earlier runs"
        host.current().tell(title, self._node_id)
        display = Display(self._engine, self._requests, self._node_id)
        for index in kept:
            found = self._store.get(self.rows[index])
            if found is None:
                missing.append(index)
            else:
                display.finish(index, found.image)
                yield index, found
        if missing:
            yield from self._make(sorted(missing), display)
        if self.failures:
            self._tell_failures()
        display.end(title)

    def _make(self, missing: Sequence[int], display: Display) -> Iterator[tuple[int, Stored]]:
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

    def _portion(self, places: Sequence[int], display: Display) -> Iterator[tuple[int, Stored]]:
        """The images at these places, as many in flight as there is room for."""
        requests = [self._requests[index] for index in places]
        display.begin(places, self._done)
        memory = self._engine.working_memory(requests)
        elsewhere = self._engine.is_elsewhere
        with host.current().holding(self._engine.model, memory, elsewhere=elsewhere):
            for image in self._engine.generate(
                requests,
                on_step=display.update,
                on_failure=lambda at, error: self._fail(places[at], error),
            ):
                index = places[image.index]
                own = image.decoded.numpy() if self._unrounded else image.pixels
                made = Stored(own, image.latents.numpy())
                self._note(index, image.record)
                self._store.put(self.rows[index], made)
                display.finish(index, own)
                del self._left[index]
                yield index, made

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

    def get(self, row: Record) -> Stored | None:
        if self._store is None:
            return None
        return self._store.get(row.identity, unrounded=self._unrounded)

    def put(self, row: Record, made: Stored) -> None:
        if self._store is None:
            return
        try:
            self._store.put(row.identity, made, row.to_json())
        except OutputError as error:
            self._store = None
            host.current().tell(
                f"Finished images are not kept for later runs: {error}", self._node_id
            )
