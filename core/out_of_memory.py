"""Running out of a device's memory, told as an error of ours."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import OutOfMemory

#: How torch says it where it has no class of its own for it.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def telling(expected: str, action: str) -> Iterator[None]:
    """Within the block, a shortage of memory is an error of ours.

    Nothing is tried again in another way: calls of another shape would give other bits.

    Raises:
        OutOfMemory: there is too little.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_shortage(error):
            raise
        # They would hold the tensors for as long as somebody looks at the error.
        traceback.clear_frames(error.__traceback__)
        said = ". ".join(str(error).split(". ")[:2]).rstrip(".") or type(error).__name__
        raise OutOfMemory(expected, f"`{said}`", action) from error


def _is_shortage(error: Exception) -> bool:
    known = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, known) or any(words in str(error) for words in _WORDS)
