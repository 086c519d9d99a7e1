"""What runs in a worker: an engine of its own, for pieces of work."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from ..core import errors
from ..core.errors import BatchSDXLError, FailedImage
from ..core.models.spec import ModelSpec
from ..core.request.named import Named
from ..core.user_cache import user_cache
from .lively import Steps, lively

if TYPE_CHECKING:
    import torch

    from ..core.engine.engine import Engine
    from ..core.engine.progress import Progress
    from ..core.images.source import SourceImage
    from ..core.models.model import Model
    from ..core.request.image_request import SizedRequest
    from ..core.request.record import Record
    from ..host.engine_settings import EngineSettings
    from .weights import Parcel

#: Input images that a worker keeps, since neighbours often share one.
_PICTURES = 8


class Precision(NamedTuple):
    """What of a model its numerics depend on: the arguments of `numerics.fingerprint`."""

    device: str
    dtype: torch.dtype
    vae_dtype: torch.dtype
    attention: str


class Report(NamedTuple):
    """What a worker says of itself.

    Attributes:
        node: name of the machine.
        version: of this package.
        numerics: of calls with `PROBE`'s geometry.
        digest: of its model, empty before that is loaded.
    """

    node: str
    version: str
    numerics: dict[str, Any]
    digest: str = ""


class Trouble(NamedTuple):
    """An error, in plain values: whatever libraries raise need not be there, or be sendable.

    Attributes:
        kind: name of its class.
        parts: what was expected, what came, what to do; of another's its text alone.
    """

    kind: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, error: BaseException) -> Trouble:
        """The one that was met here."""
        kind = type(error).__name__
        if isinstance(error, BatchSDXLError):
            return cls(kind, (error.expected, error.got, error.action))
        return cls(kind, (str(error).partition("\n")[0],))

    def error(self) -> BatchSDXLError:
        """The error again."""
        kind = getattr(errors, self.kind, None)
        if kind is not None and len(self.parts) == 3:
            again: BatchSDXLError = kind(*self.parts)
            return again
        return FailedImage(
            "an image from a worker",
            f"{self.kind}: {' '.join(self.parts)}",
            "The worker's log says more.",
        )


@dataclass(frozen=True)
class Task:
    """A piece of work as it is sent.

    Attributes:
        indices: of the requests, in the run.
        requests: their input images by name and digest.
        steps: of each.
        pictures: digest of an input image -> a reference to its pixels.
        settings: of the engine.
    """

    indices: Sequence[int]
    requests: Sequence[SizedRequest]
    steps: Sequence[int]
    pictures: Mapping[str, Any]
    settings: EngineSettings


@dataclass(frozen=True, eq=False)
class Made:
    """A finished image.

    Attributes:
        index: of its request.
        pixels: (H, W, 3) uint8, or float32 as decoded.
        latents: as of `GeneratedImage`.
        record: of it.
        under_way: as of `Steps`, now that it is finished.
    """

    index: int
    pixels: NDArray[Any]
    latents: NDArray[Any]
    record: Record
    under_way: int = 0


@dataclass(frozen=True)
class Spoiled:
    """An image that no worker can make."""

    index: int
    trouble: Trouble


class Worker:
    """Makes images of requests; one process of it is a Ray actor."""

    def __init__(self, name: str, threads: int | None) -> None:
        """Start.

        Args:
            name: for people.
            threads: that a CPU computes with, which its bits depend on; None on a GPU.
        """
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._name = name
        self._model: Model | None = None
        self._engines: dict[EngineSettings, Engine] = {}
        self._pictures: dict[str, SourceImage] = {}
        self._taken = 0

    def __repr__(self) -> str:
        """As Ray's dashboard and logs call it."""
        return self._name

    def report(self, precision: Precision) -> Report | Trouble:
        """Say what it would compute with; no model is needed for that."""
        import torch

        from .. import __version__
        from ..core.numerics import fingerprint
        from .numerics import PROBE

        try:
            device = torch.device(precision.device)
            numerics = fingerprint(
                device, precision.dtype, precision.vae_dtype, PROBE, precision.attention
            )
        except Exception as error:  # whatever drivers raise
            return Trouble.of(error)
        return Report(platform.node(), __version__, numerics)

    def prepare(self, spec: ModelSpec, parcel: Parcel | None) -> Report | Trouble:
        """Load a model.

        Args:
            spec: of it, whose paths are this node's.
            parcel: its files, where they are sent.
        """
        from ..core.engine.describe import Describer
        from ..core.models.load import load_model
        from ..core.pinning import pinned
        from .numerics import PROBE
        from .weights import unpack

        try:
            if parcel is not None:
                spec = unpack(parcel, user_cache() / "weights", _get)
            self._model = model = load_model(spec)
            with pinned(model.device):
                numerics = Describer(model).numerics(PROBE)
        except Exception as error:  # the driver decides what to do about it
            return Trouble.of(error)
        from .. import __version__

        return Report(platform.node(), __version__, numerics, model.digest)

    def make(self, task: Task) -> Iterator[Made | Spoiled | Steps | Trouble]:
        """Make images; at last, where the piece failed as a whole, the trouble."""
        self._taken = 0
        yield from lively(lambda: self._make(task), lambda: self._taken)

    def _make(self, task: Task) -> Iterator[Made | Spoiled | Trouble]:
        spoiled: list[Spoiled] = []
        finished = 0

        def note(progress: Progress) -> None:
            self._taken = max(0, progress.steps - finished)

        try:
            requests = [self._whole(request, task) for request in task.requests]
            for image in self._engine(task).generate(
                requests,
                on_step=note,
                on_failure=lambda at, error: spoiled.append(
                    Spoiled(task.indices[at], Trouble.of(error))
                ),
            ):
                yield from spoiled
                spoiled.clear()
                own = image.decoded.numpy() if task.settings.unrounded else image.pixels
                latents = image.latents.numpy()
                finished += task.steps[image.index]
                self._taken = max(0, self._taken - task.steps[image.index])
                yield Made(task.indices[image.index], own, latents, image.record, self._taken)
            yield from spoiled
        except Exception as error:  # the driver decides what to do about it
            yield Trouble.of(error)

    def _engine(self, task: Task) -> Engine:
        from ..core.engine.engine import Engine

        settings = task.settings
        if settings not in self._engines:
            assert self._model is not None
            self._engines[settings] = Engine(
                self._model, geometry=settings.geometry, vae_tile=settings.vae_tile
            )
        return self._engines[settings]

    def _whole(self, request: SizedRequest, task: Task) -> SizedRequest:
        """The request with the pixels of its input image."""
        if not isinstance(request.image, Named):
            return request
        from ..core.images.source import SourceImage

        digest, name = request.image.digest, request.image.name
        known = self._pictures.get(digest)
        if known is None:
            known = SourceImage.of(_get(task.pictures[digest]).copy(), name)
            self._pictures[digest] = known
            while len(self._pictures) > _PICTURES:
                del self._pictures[next(iter(self._pictures))]
        return replace(request, image=replace(known, name=name))


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)
