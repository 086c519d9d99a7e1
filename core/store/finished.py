"""Images of a run that did not end, for the next one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

#: Bytes that are kept at most. An image of 1024 x 1024 in 8 bits takes 3 MiB, so these are 680 of
#: them: hours of work on most machines, in less memory than an SDXL model takes.
LIMIT = 2 * 1024**3


class FinishedImages:
    """Finished images by what their bits depend on; the oldest make room for new ones."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Keep at most so many bytes."""
        self._limit = limit
        self._images: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def put(self, key: Hashable, image: NDArray[Any]) -> None:
        """Keep an image. It is not copied, and not to be written to."""
        if key in self._images:
            self._bytes -= self._images.pop(key).nbytes
        self._images[key] = image
        self._bytes += image.nbytes
        while self._bytes > self._limit:
            self._bytes -= self._images.popitem(last=False)[1].nbytes

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """The image of that key, None if it is not here."""
        return self._images.get(key)

    def release(self) -> None:
        """Let go of all of them."""
        self._images.clear()
        self._bytes = 0
