"""An `Engine` whose images are made by a crew of workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..core.engine.describe import Describer
from ..core.engine.engine import Engine
from ..core.engine.generated_image import GeneratedImage
from ..core.errors import BatchSDXLError, FailedImage
from ..core.images.source import SourceImage
from ..core.models.model import Model
from ..core.pinning import pinned
from ..core.request.image_request import SizedRequest
from ..core.request.named import Named
from ..core.request.record import Record
from ..host.engine_settings import EngineSettings
from .crew import Crew
from .numerics import at
from .work import Piece, Queue, Work
from .worker import Task

if TYPE_CHECKING:
    from ..core.engine.progress import Progress
    from ..core.engine.run import Listener


class Cluster(Protocol):
    """What an engine asks of the cluster."""

    def crew(self, model: Any) -> Crew:
        """The workers with a model."""

    def put(self, value: Any) -> Any:
        """Keep a value where workers find it, and refer to it."""

    def check(self) -> None:
        """Stop here if the person asked for it."""


class ClusterEngine(Engine):
    """An engine that checks and describes requests here, and has others make the images."""

    is_elsewhere = True

    def __init__(
        self,
        model: Model,
        cluster: Cluster,
        settings: EngineSettings,
    ) -> None:
        """Nothing is asked of the cluster yet.

        Args:
            model: whose weights may be on torch's `meta` device, since nothing is computed here.
            cluster: that has the workers.
            settings: of the engine. Images come as decoded only if they say so, which is four
                times as much; else `decoded` of a `GeneratedImage` is empty, and of one that is
                unrounded `pixels` is.
        """
        super().__init__(model, geometry=settings.geometry, vae_tile=settings.vae_tile)
        self._cluster = cluster
        self._settings = settings

    def describe_each(self, requests: Iterable[SizedRequest]) -> list[Record]:
        """The records, with the numerics of the first worker; waits for it."""
        first = self._cluster.crew(self.model).numerics(self._cluster.check)
        with pinned(self.model.device):
            describer = Describer(self.model)
        return [
            describer.describe(r, at(first, self.geometry_of(r.width, r.height))) for r in requests
        ]

    def _run(
        self,
        requests: list[SizedRequest],
        queues: dict[tuple[int, int, int], list[int]],
        progress: Progress,
        tell: Listener,
    ) -> Iterator[GeneratedImage]:
        spoiled: list[tuple[int, BatchSDXLError]] = []
        work = Work(
            [self._queue(requests, indices) for indices in queues.values()],
            lambda index, error: spoiled.append((index, error)),
        )
        pictures = _Pictures(self._cluster.put)
        steps = [self._count_steps([request]) for request in requests]

        def task(piece: Piece) -> Task:
            own = [requests[index] for index in piece.indices]
            return Task(
                tuple(piece.indices),
                tuple(map(_bare, own)),
                tuple(steps[index] for index in piece.indices),
                pictures.of(own),
                self._settings,
            )

        def tell_failures() -> None:
            for index, error in spoiled:
                tell.failure(index, _failure(error))
            spoiled.clear()

        def check() -> None:
            tell_failures()
            tell.step(progress.after(crew.under_way, 0, []))

        lanes = max((queue.lanes for queue in work.queues), default=1)
        crew = self._cluster.crew(self.model)
        unrounded = self._settings.unrounded
        for made in crew.make(work, task, _title, check, most=2 * lanes):
            request = requests[made.index]
            # Out of the object store, where it is in nobody's way: files take their time.
            own = made.pixels.copy()
            progress = progress.after(steps[made.index], 1, [])
            decoded = torch.from_numpy(own if unrounded else own[:0, :0].astype("float32"))
            pixels = own[:0, :0].astype("uint8") if unrounded else own
            latents = torch.from_numpy(made.latents.copy())
            yield GeneratedImage(made.index, request, decoded, pixels, latents, made.record)
        tell_failures()

    def _queue(self, requests: list[SizedRequest], indices: Sequence[int]) -> Queue:
        own = [requests[index] for index in indices]
        rows = self.geometry_of(own[0].width, own[0].height).rows
        needed = max(1 + request.is_guided for request in own)
        steps = fmean(request.num_inference_steps for request in own)
        return Queue(deque(indices), rows // needed, own[0].width * own[0].height * steps)


class _Pictures:
    """Input images in the object store, each once, as long as the run lasts."""

    def __init__(self, put: Callable[[Any], Any]) -> None:
        self._put = put
        self._known: dict[str, Any] = {}

    def of(self, requests: Iterable[SizedRequest]) -> dict[str, Any]:
        """References to the pixels of those that requests start from, by digest."""
        used: dict[str, Any] = {}
        for request in requests:
            if not isinstance(source := request.source, SourceImage):
                continue  # latents are small, and go along in the request
            if source.digest not in self._known:
                self._known[source.digest] = self._put(source.pixels)
            used[source.digest] = self._known[source.digest]
        return used


def _bare(request: SizedRequest) -> SizedRequest:
    """The request without the pixels of its input image."""
    image = request.image
    if not isinstance(image, SourceImage):
        return request
    return replace(request, image=Named(image.name, image.digest))


def _title(piece: Piece) -> str:
    first, last = piece.indices[0] + 1, piece.indices[-1] + 1
    return f"image {first}" if first == last else f"images {first} to {last}"


def _failure(error: BatchSDXLError) -> FailedImage:
    if isinstance(error, FailedImage):
        return error
    return FailedImage(error.expected, error.got, error.action)
