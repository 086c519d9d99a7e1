"""A run of Batch Generate: what is left of the last one, what is seen of it, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..core.store import FinishedImages
from . import host

if TYPE_CHECKING:
    import torch

    from ..core.engine.engine import Engine
    from ..core.engine.preview import BatchPreview
    from ..core.engine.progress import Progress
    from ..core.request.image_request import SizedRequest

#: What a run that was stopped has finished, by identity and whether it is unrounded.
_finished = FinishedImages()

Images = list[NDArray[Any] | None]


def render(
    engine: Engine,
    requests: Sequence[SizedRequest],
    identities: Sequence[str],
    *,
    unrounded: bool,
    title: str,
    node_id: str,
) -> Images:
    """Make the images that a run which did not end has not left here.

    Args:
        engine: to make them.
        requests: of the images.
        identities: of `core.identity`, for each of them.
        unrounded: whether to keep the images as decoded.
        title: what is made, for the person.
        node_id: that the person sees it on.

    Returns:
        Each (H, W, 3): uint8, or float32 in 0..1 if unrounded. None of them is None.
    """
    keys = [(identity, unrounded) for identity in identities]
    images: Images = [_finished.get(key) for key in keys]
    missing = [index for index, image in enumerate(images) if image is None]
    total, kept = len(images), len(images) - len(missing)
    if kept:
        title = f"{title}, {kept} of {total} images kept from the last run"
    host.current().tell(title, node_id)
    display = _Display(engine, requests, images, missing, node_id)
    try:
        for image in engine.generate([requests[i] for i in missing], on_step=display.update):
            index = missing[image.index]
            images[index] = own = image.decoded.numpy() if unrounded else image.pixels
            _finished.put(keys[index], own)
            display.finish(index, own)
    except BaseException:
        kept = sum(_finished.get(key) is not None for key in keys)
        display.end(f"Stopped; {kept} of {total} images are kept for the next run")
        raise
    display.end(title)
    return images


def to_tensors(images: Images) -> list[torch.Tensor]:
    """Batches of neighbours of one size, as ComfyUI has them: (B, H, W, 3) float32 in 0..1.

    The images are taken out of the list one by one, and nothing is kept for a next run any more, so
    that a batch is in memory once.
    """
    import torch

    shapes = [image.shape for image in images if image is not None]
    batches = [torch.empty(len(list(group)), *shape) for shape, group in groupby(shapes)]
    # Only now, since a run that finds no memory for its batches has something to keep.
    _finished.release()
    images.reverse()
    for place in (place for batch in batches for place in batch):
        image = images.pop()
        assert image is not None
        place.copy_(torch.from_numpy(image))
        if image.dtype.kind == "u":
            # Whole 255ths, so that every saver writes the engine's own rounding.
            place.div_(255)
    return batches


class _Display:
    """Passes the engine's progress on to the host, with a look at the batch where it shows one."""

    def __init__(
        self,
        engine: Engine,
        requests: Sequence[SizedRequest],
        images: Images,
        missing: Sequence[int],
        node_id: str,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._images = images
        self._missing = missing
        self._node_id = node_id
        self._host: host.ProgressDisplay | None = None
        self._preview: BatchPreview | None = None

    def update(self, progress: Progress) -> None:
        if self._host is None:
            self._host = self._begin(progress.total_steps)
        sheet = None
        if self._preview is not None:
            running = {self._missing[lane.index]: lane for lane in progress.running}
            over = progress.images == progress.total_images
            sheet = self._preview.draw(running, last=over)
        kept = len(self._images) - len(self._missing)
        self._host.update(progress.steps, kept + progress.images, sheet)

    def _begin(self, total_steps: int) -> host.ProgressDisplay:
        total, kept = len(self._images), len(self._images) - len(self._missing)
        display = host.current().progress(total_steps, total, kept=kept, node_id=self._node_id)
        if display.shows_preview:
            from ..core.engine.preview import BatchPreview

            sizes = [(r.width, r.height) for r in self._requests]
            self._preview = BatchPreview(self._engine.model, sizes)
            for index, image in enumerate(self._images):
                if image is not None:
                    self._preview.finish(index, image)
        return display

    def finish(self, index: int, image: NDArray[Any]) -> None:
        if self._preview is not None:
            self._preview.finish(index, image)

    def end(self, text: str) -> None:
        if self._host is not None:
            self._host.end(text)
