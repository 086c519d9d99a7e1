"""Two workers of one thread beside one, and what the machine allows.

Two cores may share more than they have to themselves: then even two processes that know nothing of
each other make less than twice as much as one. That ratio is the ceiling of any two workers. All
four are measured in turn, round by round, since machines have other things to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from batch_sdxl.cluster.cluster import Options, RayCluster
from batch_sdxl.core import Engine, ImageRequest, load_model


def _requests(images: int) -> list[ImageRequest]:
    return [ImageRequest(prompt="a red circle", seed=seed) for seed in range(images)]


def _process(line: Connection) -> None:
    """One of the processes: makes as many images as it is told, until it is told none."""
    import torch

    torch.set_num_threads(1)
    engine = Engine(load_model("demo", device="cpu"))
    while images := line.recv():
        for _ in engine.generate(_requests(images)):
            pass
        line.send(images)


class Processes:
    """Plain processes of one thread."""

    def __init__(self, stack: ExitStack) -> None:
        """Start two, which end with the stack."""
        context = get_context("spawn")
        self._lines = []
        for _ in range(2):
            own, theirs = context.Pipe()
            process = context.Process(target=_process, args=(theirs,), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(own.send, 0)
            self._lines.append(own)

    def make(self, number: int, images: int) -> None:
        """Have so many of them make so many images each."""
        for line in self._lines[:number]:
            line.send(images)
        for line in self._lines[:number]:
            line.recv()


def compare(images: int, rounds: int) -> None:
    """Print what two make of twice what one makes.

    Args:
        images: that each makes in a round.
        rounds: of which the median counts.
    """
    with ExitStack() as stack:
        plain = Processes(stack)
        engines = {number: _workers(number, stack) for number in (1, 2)}
        own = 0.0

        def workers(number: int) -> None:
            nonlocal own
            start = time.process_time()
            for _ in engines[number].generate(_requests(number * images)):
                pass
            own += time.process_time() - start

        ways: list[tuple[str, Callable[[], Any]]] = [
            ("one process", lambda: plain.make(1, images)),
            ("two processes", lambda: plain.make(2, images)),
            ("one worker", lambda: workers(1)),
            ("two workers", lambda: workers(2)),
        ]
        plain.make(2, 4)  # loads and warms them up
        workers(1)
        workers(2)
        took: dict[str, list[float]] = {name: [] for name, _ in ways}
        own = 0.0
        for number in range(rounds):
            for name, run in ways if number % 2 == 0 else reversed(ways):
                start = time.monotonic()
                run()
                took[name].append(time.monotonic() - start)
    seconds = {name: median(times) for name, times in took.items()}
    for name, each in seconds.items():
        print(f"{name}: {(1 + name.startswith('two')) * images / each:.2f} images/s")
    # Of one round each, since the next one is of another machine, so to speak.
    ceiling = _median(took["one process"], took["two processes"])
    ours = _median(took["one worker"], took["two workers"])
    share = _median(took["two processes"], took["two workers"])
    print(
        f"of twice one, two plain processes make {ceiling:.2f} (the machine's ceiling) and two "
        f"workers {ours:.2f}; two workers make {share:.2f} of what two plain processes make; "
        f"the command's CPU for an image: {own / (3 * rounds * images):.4f} s; load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, 2 of it this"
    )


def _median(ones: list[float], others: list[float]) -> float:
    return median(one / other for one, other in zip(ones, others, strict=True))


def _workers(number: int, stack: ExitStack) -> Any:
    """An engine of so many workers of one thread."""
    cluster = stack.enter_context(RayCluster(Options(workers=number, cpus=1), lambda text: None))
    return cluster.engine(load_model("demo", **cluster.placement()))
