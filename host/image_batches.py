"""Batches of images, or of latents, whose sizes are known before they are there."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

#: Bytes from which on a batch lies in a file: it then takes address space, and as much memory as
#: the system has no better use for.
IN_A_FILE = 1024**3


class ImageBatches:
    """Neighbours of one size as ComfyUI has them: images (B, H, W, 3), latents (B, 4, h, w); all
    of them float32, images in 0..1."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], folder: Path | None = None) -> None:
        """Make room.

        Args:
            shapes: of each image.
            folder: of the file of a large batch; None for the system's own.
        """
        self._batches = [
            _room((len(list(group)), *shape), folder) for shape, group in groupby(shapes)
        ]
        self._places = [place for batch in self._batches for place in batch]

    def put(self, index: int, image: NDArray[Any]) -> None:
        """Fill in one image.

        Args:
            index: of its size.
            image: of its shape: uint8, or float32.
        """
        place = self._places[index]
        place.copy_(as_tensor(image))

    def tensors(self, without: Collection[int] = ()) -> list[torch.Tensor]:
        """The batches.

        Args:
            without: places that nothing was put into; images behind them move up.
        """
        if not without:
            return self._batches
        import torch

        start, kept = 0, []
        for batch in self._batches:
            there = [at for at in range(len(batch)) if start + at not in without]
            start += len(batch)
            for to, at in enumerate(there):
                batch[to].copy_(batch[at])
            kept.append(batch[: len(there)])
        groups = (list(g) for _, g in groupby(filter(len, kept), key=lambda one: one.shape[1:]))
        return [group[0] if len(group) == 1 else torch.cat(group) for group in groups]


def as_tensor(image: NDArray[Any]) -> torch.Tensor:
    """The same as float32, uint8 as 0..1.

    Of 8 bits they are whole 255ths, so that every saver writes the engine's own rounding.
    """
    import torch

    tensor = torch.from_numpy(image).float()
    return tensor.div_(255) if image.dtype.kind == "u" else tensor


def _room(shape: tuple[int, ...], folder: Path | None) -> torch.Tensor:
    import torch

    size = math.prod(shape)
    # Windows takes no file away that is in use.
    if size * 4 >= IN_A_FILE and os.name != "nt":
        with suppress(OSError):
            return _mapped(size, folder).view(shape)
    return torch.empty(shape)


def _mapped(size: int, folder: Path | None) -> torch.Tensor:
    """Zeros in a file without a name, which is gone with the tensor.

    Raises:
        OSError: there is no room for it.
    """
    import torch

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        # All of it now: a disk that is full later would end the process.
        os.posix_fallocate(file.fileno(), 0, size * 4)
        return torch.from_file(file.name, shared=True, size=size, dtype=torch.float32)
