"""Time: what is left of it, and what a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from batch_sdxl.core.models.footprint import LiveTensors


class Budget:
    """Seconds that a piece of work may take."""

    def __init__(self, seconds: float) -> None:
        """Count from now."""
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 or more."""
        return max(0.0, self._end - time.monotonic())

    def part(self, seconds: float) -> Budget:
        """A budget of at most so many of them."""
        return Budget(min(seconds, self.left))


def wait_for(device: torch.device) -> None:
    """Return once all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], Any], device: torch.device, spend: float = 1.0) -> float:
    """Seconds of a call: the median of up to three rounds of calls without a wait between them.

    Args:
        call: is called before, too, since first calls load and choose kernels.
        device: that it works on.
        spend: about how long the rounds may take together.
    """
    call()
    once = _timed(call, device, 1)
    rounds = max(1, min(3, int(spend / once)))
    if rounds == 1:
        return once
    count = max(1, min(20, int(spend / rounds / once)))
    return median(_timed(call, device, count) for _ in range(rounds))


def _timed(call: Callable[[], Any], device: torch.device, count: int) -> float:
    wait_for(device)
    begin = time.perf_counter()
    for _ in range(count):
        call()
    wait_for(device)
    return (time.perf_counter() - begin) / count


class Peak:
    """The most memory in bytes that a block took, None where that was not told."""

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device, *, counted: bool = False) -> Iterator[Peak]:
    """Measure the tensors of a block: on a GPU, with weights.

    Args:
        device: that they are on.
        counted: count new tensors one by one where it is no GPU, which makes the block slow.
    """
    peak = Peak()
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        wait_for(device)
        peak.bytes = torch.cuda.max_memory_allocated(device)
    elif counted:
        with LiveTensors() as living:
            yield peak
        peak.bytes = living.peak
    else:
        yield peak
