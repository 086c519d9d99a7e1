"""What a generator yields, and how far it is while it yields nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple, TypeVar

import torch

#: Seconds between two words about steps.
PERIOD = 1.0

T = TypeVar("T")
_END = object()


class Steps(NamedTuple):
    """Steps taken for images that are not finished yet, all of them together."""

    under_way: int


def lively(
    make: Callable[[], Iterator[T]], steps: Callable[[], int], period: float = PERIOD
) -> Iterator[T | Steps]:
    """What `make` yields, from a thread of its own.

    Args:
        make: computes.
        steps: under way by now; asked now and then, in another thread than that of `make`.
        period: seconds.
    """
    results: Queue[object] = Queue(maxsize=1)
    threads = torch.get_num_threads()

    def run() -> None:
        torch.set_num_threads(threads)  # which bits depend on, and which is a thread's own
        try:
            for item in make():
                results.put(item)
        finally:
            results.put(_END)

    Thread(target=run, daemon=True).start()
    told = 0
    while True:
        try:
            item = results.get(timeout=period)
        except Empty:
            if told != (told := steps()):
                yield Steps(told)
            continue
        if item is _END:
            return
        yield item  # type: ignore[misc]
