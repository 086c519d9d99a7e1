"""Requests -> images: checked, described, and made a size at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..errors import FailedImage, InvalidRequest
from ..models.model import Model
from ..numerics import Geometry
from ..pinning import pinned
from ..request.image_request import ImageRequest, SizedRequest
from ..request.record import Record
from ..samplers.choice import count_calls
from ..wording import brief
from .backend import Backend
from .denoiser import Denoiser
from .describe import Describer
from .diffusers_backend import backend_of
from .generated_image import GeneratedImage
from .memory import telling_of_images, working_memory
from .progress import Progress
from .run import Listener, Run, chunks_of, clip_skips


class Engine:
    """Makes images of requests; each one's bits depend on its request, model and numerics only.

    Attributes:
        is_elsewhere: whether others compute for it, so that its model is not needed here.
    """

    is_elsewhere = False

    def __init__(
        self,
        model: Model | Backend,
        *,
        geometry: Geometry | None = None,
        vae_tile: int | None = None,
    ) -> None:
        """Prepare to run `model`.

        Args:
            model: of `load_model`, or what runs one of another program.
            geometry: shape of the calls for images of any size; None follows
                `Geometry.for_size`.
            vae_tile: as `Geometry.vae_tile`, where the geometry follows the size.

        Raises:
            InvalidRequest: `model` is none.
        """
        if not isinstance(model, Model | Backend):
            name = brief(model) if isinstance(model, str | os.PathLike) else "..."
            raise InvalidRequest("a Model", brief(model), f"Write Engine(load_model({name})).")
        self.model = model
        self._geometry = geometry
        self._vae_tile = vae_tile
        self._backend = backend_of(model)

    def generate(
        self,
        requests: ImageRequest | Iterable[ImageRequest],
        *,
        on_step: Callable[[Progress], None] | None = None,
        on_failure: Callable[[int, FailedImage], None] | None = None,
    ) -> Iterator[GeneratedImage]:
        """Make the images, each handed out as soon as it is done, whatever the order.

        All requests are checked before the first step. Images already handed out stay good when
        a later one fails or the iteration is given up.

        Args:
            requests: any number, of any mixture of sizes and settings; or a single one.
            on_step: called after every UNet call, every image and every image's prompts; what it
                raises stops the run.
            on_failure: told of each request whose image fails, by its place, and why; the others
                are made all the same. None ends the run with the first that fails.

        Raises:
            FailedImage: an image came out as NaN or infinite numbers, without `on_failure`.
            InvalidPrompts: a prompt calls a textual inversion that is not there, has a weight that
                is not finite, or its length and that of its negative prompt do not go together.
            InvalidRequest: a sampler can't take the number of steps, or the text encoders have not
                so many layers to skip.
            OutOfMemory: the device has not enough for a call.
        """
        if isinstance(requests, ImageRequest):
            requests = [requests]
        filled = [self.with_size(request) for request in requests]
        for request in filled:
            _ = request.source  # whose pixels or numbers must be here
        for clip_skip in {skip for request in filled for skip in clip_skips(request)}:
            self._backend.check_clip_skip(clip_skip)
        queues = self._queues(filled)
        total = Progress(0, self._count_steps(filled), 0, len(filled))
        tell = Listener(on_step or (lambda progress: None), on_failure or _stop)
        return self._run(filled, queues, total, tell)

    def geometry_of(self, width: int, height: int) -> Geometry:
        """The shape of the calls that images of this size in pixels are made with."""
        if self._geometry is not None:
            return self._geometry
        usual = Geometry.for_size(self._backend.device, self._backend.unet_bytes, width, height)
        return replace(usual, vae_tile=self._vae_tile)

    def working_memory(self, requests: Iterable[ImageRequest]) -> int:
        """Bytes to have free, beside the weights, for the largest call that requests lead to."""
        sizes = {(r.width, r.height) for r in map(self.with_size, requests)}
        needs = (working_memory(self._backend, self.geometry_of(*size), *size) for size in sizes)
        return int(max(needs, default=0))

    def describe(self, request: SizedRequest) -> Record:
        """The record of an image that this engine makes of a request, as things are now."""
        (record,) = self.describe_each([request])
        return record

    def describe_each(self, requests: Iterable[SizedRequest]) -> list[Record]:
        """As `describe`, for many requests: what they have in common is read once."""
        requests = list(requests)
        with pinned(self._backend.device):
            describer = Describer(self._backend)
            numerics = {
                size: describer.numerics(self.geometry_of(*size))
                for size in {(request.width, request.height) for request in requests}
            }
        return [describer.describe(r, numerics[r.width, r.height]) for r in requests]

    def with_size(self, request: ImageRequest) -> SizedRequest:
        """The request with what it leaves to its image or the model filled in.

        Raises:
            InvalidRequest: it is none.
        """
        if not isinstance(request, ImageRequest):
            raise InvalidRequest(
                "an ImageRequest", brief(request), "Write ImageRequest(prompt=..., seed=...)."
            )
        own = {}
        if request.is_guided and not request.negative_prompt and request.empty_negative is None:
            own["empty_negative"] = "zeros" if self._backend.zeros_for_empty_prompt else "empty"
        return request.sized(self._backend.native_size, **own)

    def _run(
        self,
        requests: list[SizedRequest],
        queues: dict[tuple[int, int, int], list[int]],
        progress: Progress,
        tell: Listener,
    ) -> Iterator[GeneratedImage]:
        with pinned(self._backend.device):
            describer = Describer(self._backend)
            denoise = Denoiser(self._backend, describer)
        with self._backend.running():
            # Rows of one call share a shape, so one is finished before the next begins.
            for (width, height, _), queue in queues.items():
                geometry = self.geometry_of(width, height)
                run = Run(self._backend, geometry, describer, denoise, tell)
                with telling_of_images(self._backend, geometry, width, height):
                    progress = yield from run.images(
                        [(index, requests[index]) for index in queue], progress
                    )

    def _queues(self, requests: list[SizedRequest]) -> dict[tuple[int, int, int], list[int]]:
        """Width, height, chunks of text -> the requests that may share calls, by their places.

        Chunks are 0 where they make no difference.
        """
        queues: dict[tuple[int, int, int], list[int]] = {}
        mixes_lengths = self._backend.mixes_lengths
        for index, request in enumerate(requests):
            chunks = chunks_of(self._backend, request)
            key = request.width, request.height, 0 if mixes_lengths else chunks
            queues.setdefault(key, []).append(index)
        return queues

    def _count_steps(self, requests: list[SizedRequest]) -> int:
        plans = Counter(
            (r.scheduler, r.num_inference_steps, r.strength if r.picture else None)
            for r in requests
        )
        config = self._backend.scheduler_config
        with pinned(self._backend.device):
            return sum(
                number * count_calls(name, config, steps, strength)
                for (name, steps, strength), number in plans.items()
            )


def _stop(_index: int, error: FailedImage) -> None:
    raise error
