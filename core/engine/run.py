"""The tick: admit, gather, forward, advance, retire."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from ..errors import FailedImage
from ..numerics import Geometry
from ..pinning import pinned
from ..request.image_request import SizedRequest
from ..request.latents import SourceLatents
from ..text.stack import common_chunks
from ..transfer import Mark, sent, works_beside
from .backend import Backend
from .denoiser import Denoiser
from .describe import Describer
from .generated_image import Decoded, GeneratedImage
from .lane import Lane
from .progress import Progress
from .rows import Rows


class Listener(NamedTuple):
    """Who is told how a run goes."""

    step: Callable[[Progress], None]
    failure: Callable[[int, FailedImage], None]


class Run:
    """Makes images that share calls: of one size, as lanes that join and leave."""

    def __init__(
        self,
        backend: Backend,
        geometry: Geometry,
        describer: Describer,
        denoise: Denoiser,
        tell: Listener,
    ) -> None:
        """Begin nothing yet.

        Args:
            backend: that runs the model.
            geometry: of the calls.
            describer: of the whole run.
            denoise: likewise.
            tell: likewise.
        """
        self._backend, self._geometry = backend, geometry
        self._describer, self._denoise, self._tell = describer, denoise, tell
        self._lanes: list[Lane] = []

    def images(
        self, requests: Sequence[tuple[int, SizedRequest]], progress: Progress
    ) -> Generator[GeneratedImage, None, Progress]:
        """Each image as it is done.

        A device that works beside the CPU is given the next call before the last one's images are
        handed out. So it never waits, and is never further than a call from what progress says.

        Args:
            requests: with their places among those given.
            progress: so far.

        Returns:
            The progress after them.
        """
        queue = deque(requests)
        device = self._backend.device
        ready: deque[Lane | Decoded] = deque()
        waiting: list[Decoded] = []
        mark = Mark(device)
        try:
            while queue or self._lanes or waiting:
                self._admit(queue, progress)
                if self._lanes:
                    progress = progress.after(self._tick(), 0, self._lanes)
                done = [lane for lane in self._lanes if lane.is_done]
                self._lanes = [lane for lane in self._lanes if not lane.is_done]
                if works_beside(device):
                    ready, waiting = deque(waiting), []
                    waiting.extend(self._decode(done))
                    last, mark = mark, Mark(device)
                    last.wait()
                else:
                    ready = deque(done)
                if not ready:
                    self._tell.step(progress)
                # Handed out before anyone is asked to go on, so that Cancel does not lose it.
                while ready:
                    number = 0
                    for image in self._finished([ready.popleft()]):
                        yield image
                        number = 1
                    others = [each for each in ready if isinstance(each, Lane)]
                    progress = progress.after(0, number, [*others, *self._lanes])
                    self._tell.step(progress)
        except GeneratorExit:
            raise
        except BaseException:
            # Those that are decoded are all but here. ComfyUI's Cancel is none of Exception.
            yield from self._finished([each for each in ready if isinstance(each, Decoded)])
            yield from self._finished(waiting)
            raise
        return progress

    def _finished(self, parts: Sequence[Lane | Decoded]) -> Generator[GeneratedImage]:
        for part in parts:
            for decoded in self._decode([part]) if isinstance(part, Lane) else [part]:
                try:
                    image = decoded.image()
                except FailedImage as error:
                    self._tell.failure(decoded.index, error)
                else:
                    yield image

    def _admit(self, queue: deque[tuple[int, SizedRequest]], progress: Progress) -> None:
        """Begin images until the calls are full."""
        free = self._geometry.rows - sum(len(lane.embeddings) for lane in self._lanes)
        while queue and free >= (needed := 1 + queue[0][1].is_guided):
            index, request = queue.popleft()
            try:
                self._lanes.append(self._begin(index, request))
                free -= needed
            except FailedImage as error:
                self._tell.failure(index, error)
            self._tell.step(progress)

    def _begin(self, index: int, request: SizedRequest) -> Lane:
        backend = self._backend
        chunks = chunks_of(backend, request)
        with pinned(backend.device):
            texts = zip(prompts(request), clip_skips(request), strict=True)
            return Lane(
                index,
                request,
                [backend.encode_text(text, chunks=chunks, clip_skip=skip) for text, skip in texts],
                backend.scheduler_config,
                self._encode_image(request),
                backend.device,
            )

    def _encode_image(
        self, request: SizedRequest
    ) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Mean and standard deviation of the input image's latents, scaled, fp32 on the device.

        Of latents that were given there is no deviation.
        """
        if (source := request.source) is None:
            return None
        if isinstance(source, SourceLatents):
            latents = torch.from_numpy(source.numbers.copy())[None]
            return self._backend.scaled(sent(latents, self._backend.device)), None
        pixels = torch.from_numpy(source.pixels.copy())
        return self._backend.encode_image(pixels, self._geometry.vae_tile)

    def _tick(self) -> int:
        """One UNet call, and a step of every lane that fits into it; how many did.

        Lanes that turn their guidance on may be too many for a moment: the last ones wait.
        """
        parts: list[Rows] = []
        taking: list[Lane] = []
        free = self._geometry.rows
        with pinned(self._backend.device):
            for lane in self._lanes:
                if free >= (needed := len(lane.embeddings)):
                    free -= needed
                    taking.append(lane)
                    parts.append(lane.rows())
            predictions = self._denoise(Rows.joined(parts), self._geometry)
            own = torch.split(predictions, [len(part) for part in parts])
            for lane, rows, prediction in zip(taking, parts, own, strict=True):
                lane.advance(prediction, partial(self._backend.guide, rows))
        return len(taking)

    def _decode(self, lanes: Iterable[Lane]) -> Iterator[Decoded]:
        """Have finished lanes decoded, one by one; those that fail are told of."""
        for lane in lanes:
            try:
                with pinned(self._backend.device):
                    numerics = self._describer.numerics(self._geometry)
                    record = self._describer.describe(lane.request, numerics)
                    decoded = Decoded(self._backend, lane, self._geometry.vae_tile, record)
            except FailedImage as error:
                self._tell.failure(lane.index, error)
            else:
                yield decoded


def chunks_of(backend: Backend, request: SizedRequest) -> int:
    """Chunks of text to which the embeddings of a request's prompts are brought."""
    return common_chunks([backend.count(prompt) for prompt in prompts(request)])


def prompts(request: SizedRequest) -> list[str | None]:
    """The prompts of its rows: the negative one first, if it is guided; None for zeros."""
    if not request.is_guided:
        return [request.prompt]
    is_zeros = request.empty_negative == "zeros" and not request.negative_prompt
    return [None if is_zeros else request.negative_prompt, request.prompt]


def clip_skips(request: SizedRequest) -> list[int]:
    """The layers to skip for each of `prompts`."""
    own, negative = request.clip_skip, request.negative_clip_skip
    return [own if negative is None else negative, own] if request.is_guided else [own]
