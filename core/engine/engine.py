"""The tick: admit, gather, forward, advance, retire."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FailedImage, InvalidRequest
from ..images.source import to_uint8
from ..models.model import Model
from ..numerics import Geometry
from ..pinning import pinned
from ..request.image_request import ImageRequest, SizedRequest
from ..request.latents import SourceLatents
from ..request.record import Record
from ..samplers.choice import count_calls
from ..text.stack import common_chunks
from ..wording import brief
from .backend import Backend
from .conditions.side import SideCondition
from .conditions.size import SizeCondition
from .conditions.text import TextCondition
from .denoiser import Denoiser
from .describe import Describer
from .diffusers_backend import backend_of
from .lane import Lane
from .memory import telling_of_images, working_memory
from .progress import Progress
from .rows import Rows


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """A finished image.

    Attributes:
        index: place of its request among those given.
        request: what it was made from.
        decoded: (H, W, 3) float32 RGB in 0..1, before rounding.
        pixels: (H, W, 3) uint8 RGB, rounded once.
        latents: (4, H/8, W/8) float32, that it was decoded from: of the VAE's own scale, in which
            ComfyUI hands latents on.
        record: what it was made from, the model and the numerics included.
    """

    index: int
    request: SizedRequest
    decoded: torch.Tensor = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)
    latents: torch.Tensor = field(repr=False)
    record: Record


class _Listener(NamedTuple):
    """Who is told how a run goes."""

    step: Callable[[Progress], None]
    failure: Callable[[int, FailedImage], None]


def _stop(_index: int, error: FailedImage) -> None:
    raise error


class Engine:
    """Makes images of requests; each one's bits depend on its request, model and numerics only."""

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
        for clip_skip in {skip for request in filled for skip in _clip_skips(request)}:
            self._backend.check_clip_skip(clip_skip)
        queues = self._queues(filled)
        total = Progress(0, self._count_steps(filled), 0, len(filled))
        tell = _Listener(on_step or (lambda progress: None), on_failure or _stop)
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
        tell: _Listener,
    ) -> Iterator[GeneratedImage]:
        with pinned(self._backend.device):
            describer = Describer(self._backend)
            denoise = Denoiser(self._backend, describer)
        with self._backend.running():
            # Rows of one call share a shape, so one is finished before the next begins.
            for (width, height, chunks), queue in queues.items():
                geometry = self.geometry_of(width, height)
                with telling_of_images(self._backend, geometry, width, height):
                    progress = yield from self._render(
                        [(index, requests[index]) for index in queue],
                        chunks,
                        describer,
                        denoise,
                        geometry,
                        progress,
                        tell,
                    )

    def _render(
        self,
        requests: list[tuple[int, SizedRequest]],
        chunks: int,
        describer: Describer,
        denoise: Denoiser,
        geometry: Geometry,
        progress: Progress,
        tell: _Listener,
    ) -> Generator[GeneratedImage, None, Progress]:
        queue = deque(requests)
        lanes: list[Lane] = []
        while queue or lanes:
            free = geometry.rows - sum(len(lane.embeddings) for lane in lanes)
            while queue and free >= (needed := 1 + queue[0][1].is_guided):
                index, request = queue.popleft()
                try:
                    lanes.append(self._make_lane(index, request, chunks))
                    free -= needed
                except FailedImage as error:
                    tell.failure(index, error)
                tell.step(progress)
            if not lanes:  # all that were admitted failed
                continue
            progress = progress.after(self._tick(lanes, denoise, geometry), 0, lanes)
            done = [lane for lane in lanes if lane.is_done]
            if not done:
                tell.step(progress)
            # Handed out before anyone is asked to go on, so that Cancel does not lose it.
            for lane in done:
                lanes.remove(lane)
                try:
                    image = self._retire(lane, describer)
                except FailedImage as error:
                    tell.failure(lane.index, error)
                else:
                    yield image
                    progress = progress.after(0, 1, lanes)
                tell.step(progress)
        return progress

    def _queues(self, requests: list[SizedRequest]) -> dict[tuple[int, int, int], list[int]]:
        """Width, height and chunks of text -> places of the requests with that shape."""
        queues: dict[tuple[int, int, int], list[int]] = {}
        for index, request in enumerate(requests):
            chunks = common_chunks([self._backend.count(prompt) for prompt in _prompts(request)])
            queues.setdefault((request.width, request.height, chunks), []).append(index)
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

    def _make_lane(self, index: int, request: SizedRequest, chunks: int) -> Lane:
        with pinned(self._backend.device):
            return Lane(
                index,
                request,
                [
                    self._backend.encode_text(prompt, chunks=chunks, clip_skip=clip_skip)
                    for prompt, clip_skip in zip(
                        _prompts(request), _clip_skips(request), strict=True
                    )
                ],
                self._backend.scheduler_config,
                self._encode_image(request),
            )

    def _tick(self, lanes: list[Lane], denoise: Denoiser, geometry: Geometry) -> int:
        """One UNet call, and a step of every lane that fits into it; how many did.

        Lanes that turn their guidance on may be too many for a moment: the last ones wait.
        """
        parts: list[Rows] = []
        taking: list[Lane] = []
        free = geometry.rows
        with pinned(self._backend.device):
            for lane in lanes:
                if free >= (needed := len(lane.embeddings)):
                    free -= needed
                    taking.append(lane)
                    parts.append(_rows(lane))
            predictions = denoise(Rows.joined(parts), geometry)
            own = torch.split(predictions, [len(part) for part in parts])
            for lane, rows, prediction in zip(taking, parts, own, strict=True):
                lane.advance(prediction, partial(self._backend.guide, rows))
        return len(taking)

    def _encode_image(
        self, request: SizedRequest
    ) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Mean and standard deviation of the input image's latents, scaled, fp32 on the CPU.

        Of latents that were given there is no deviation.
        """
        if (source := request.source) is None:
            return None
        if isinstance(source, SourceLatents):
            return self._backend.scaled(torch.from_numpy(source.numbers.copy())[None]), None
        pixels = torch.from_numpy(source.pixels.copy())
        geometry = self.geometry_of(request.width, request.height)
        return self._backend.encode_image(pixels, geometry.vae_tile)

    def _retire(self, lane: Lane, describer: Describer) -> GeneratedImage:
        """Decode a finished lane, alone, and round it once to 8 bits."""
        with pinned(self._backend.device):
            geometry = self.geometry_of(lane.request.width, lane.request.height)
            image = self._backend.decode(lane.latents, geometry.vae_tile)
            record = describer.describe(lane.request, describer.numerics(geometry))
            latents = self._backend.unscaled(lane.latents)[0].float().cpu()
            pixels = to_uint8(image)
            return GeneratedImage(lane.index, lane.request, image, pixels, latents, record)


def _rows(lane: Lane) -> Rows:
    """What the UNet is asked for a lane: a row for each of its embeddings, otherwise the same."""
    count = len(lane.embeddings)
    size = torch.tensor([lane.request.time_ids], dtype=torch.float32)
    return Rows(
        lane.model_input().expand(count, -1, -1, -1),
        torch.full((count,), lane.timestep),
        (
            TextCondition.joined([TextCondition(*embedding) for embedding in lane.embeddings]),
            SizeCondition(size.expand(count, -1)),
            SideCondition(torch.arange(count) < count - 1),
        ),
    )


def _prompts(request: SizedRequest) -> list[str | None]:
    """The prompts of its rows: the negative one first, if it is guided; None for zeros."""
    if not request.is_guided:
        return [request.prompt]
    is_zeros = request.empty_negative == "zeros" and not request.negative_prompt
    return [None if is_zeros else request.negative_prompt, request.prompt]


def _clip_skips(request: SizedRequest) -> list[int]:
    """The layers to skip for each of `_prompts`."""
    own, negative = request.clip_skip, request.negative_clip_skip
    return [own if negative is None else negative, own] if request.is_guided else [own]
