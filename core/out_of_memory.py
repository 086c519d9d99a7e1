"""Running out of a device's memory, told as an error of ours."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import OutOfMemory, Way

#: How torch says it where it has no class of its own for it.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


#: What takes less memory, in the order to try it: from what costs time to what changes all bits.
OFFLOAD, TILE, ROWS = (
    Way("offload", True, keeps_bits=True),
    Way("vae_tile", 512, keeps_bits=False),
    Way("rows_per_call", 2, keeps_bits=False),
)


@contextmanager
def telling(expected: str, action: str, ways: tuple[Way, ...] = ()) -> Iterator[None]:
    """Within the block, a shortage of memory is an error of ours.

    Nothing is tried again here: calls of another shape would give other bits.

    Args:
        expected: what was needed.
        action: what a person can do.
        ways: those of it that are inputs of nodes.

    Raises:
        OutOfMemory: there is too little.
    """
    try:
        yield
    except OutOfMemory:
        raise
    except (RuntimeError, MemoryError) as error:
        if not _is_shortage(error):
            raise
        # They would hold the tensors for as long as somebody looks at the error.
        traceback.clear_frames(error.__traceback__)
        said = ". ".join(str(error).split(". ")[:2]).rstrip(".") or type(error).__name__
        told = OutOfMemory(expected, f"`{said}`", action)
        told.ways = ways
        raise told from error


def _is_shortage(error: Exception) -> bool:
    known = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, known) or any(words in str(error) for words in _WORDS)
