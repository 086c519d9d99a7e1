"""What it takes to keep many workers busy: the driver's own time for an image.

The crew that gives out work is the real one. Its workers are stand-ins in a time of their own: each
image takes some seconds that differ from worker to worker, and any may be lost. So a thousand
workers need no thousand machines, and what is left is the driver's time.

With `--ray` the lines are Ray's own, to stand-ins in actors of this machine, many in each process:
so what Ray takes in the driver for each image is counted too. Their seconds are real ones then:
100,000 images by 1,000 stand-ins take six minutes and more, and nothing is printed before the end.

With `--two`, two real workers of one thread make images beside one, and beside plain processes.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from batch_sdxl.cluster.crew import Crew
from batch_sdxl.cluster.hand import Orders
from batch_sdxl.cluster.work import Piece, Queue, Work
from batch_sdxl.cluster.worker import Made, Precision, Report

#: Images of a call, and what a worker takes for an image of 1024 x 1024 on the average, in seconds.
LANES, SECONDS = 4, 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many of each."""
    parser.add_argument("--workers", type=int, default=1000, help="stand-ins (1000)")
    parser.add_argument("--images", type=int, default=100_000, help="of all (100000)")
    parser.add_argument("--lost", type=float, default=0.05, help="workers lost in an hour, a share")
    parser.add_argument("--ray", action="store_true", help="over Ray's own lines, in real time")
    parser.add_argument("--processes", type=int, default=4, help="that share the stand-ins, by Ray")
    parser.add_argument("--pixels", type=int, default=0, help="side of images, by Ray; 0 for none")
    parser.add_argument("--two", action="store_true", help="two real workers beside one")
    parser.add_argument("--rounds", type=int, default=4, help="of that")


def run(args: argparse.Namespace) -> None:
    """Print a line for each question."""
    if args.two:
        import ray

        from . import two

        _start_ray(cpus=3)
        try:
            two.compare(args.images if args.images < 100_000 else 24, args.rounds)
        finally:
            ray.shutdown()
    elif args.ray:
        _over_ray(args.workers, args.images, args.processes, args.pixels)
    else:
        _simulate(args.workers, args.images, args.lost)


class StandIns:
    """Lines to workers that there are not, in a time that jumps to what happens next."""

    def __init__(self, lost: float) -> None:
        """Nobody is there yet.

        Args:
            lost: share of the workers that is lost in an hour.
        """
        self.now = 0.0
        self.losses = 0
        self._hazard = lost / 3600
        self._random = random.Random(0)
        self._events: list[tuple[float, int, int, int, str, Any]] = []
        self._count = 0
        self._lives: dict[int, int] = {}
        self._free: dict[int, float] = {}
        self._pace: dict[int, float] = {}

    def start(self, worker: int) -> None:
        """A new one in its place, there after a minute; lost at a time of its own."""
        life = self._lives[worker] = self._lives.get(worker, 0) + 1
        self._pace.setdefault(worker, SECONDS * self._random.uniform(0.7, 1.5))
        self._free[worker] = self.now + 60
        if self._hazard:
            at = self.now + self._random.expovariate(self._hazard)
            self._add(at, worker, life, "lost", RuntimeError("its machine left"))

    def call(self, worker: int, method: str, *_arguments: Any) -> None:
        """Answered at once, but for the loading of a model."""
        self._free[worker] += 30.0 if method == "prepare" else 0.1
        report = Report("node", "1", {"rows": 2}, "d" if method == "prepare" else "")
        self._add(self._free[worker], worker, self._lives[worker], "answer", report)

    def stream(self, worker: int, _method: str, argument: Any, *, title: str, most: int) -> None:
        """Images come by lanes, each wave at one time."""
        life, indices = self._lives[worker], argument
        at = max(self._free[worker], self.now)
        for start in range(0, len(indices), LANES):
            wave = indices[start : start + LANES]
            at += self._pace[worker] * LANES * self._random.uniform(0.95, 1.05)
            for index in wave:
                self._add(at, worker, life, "item", Made(index, _NOTHING, _NOTHING, _NO_RECORD))
        self._add(at, worker, life, "end", None)
        self._free[worker] = at

    def listen(self, seconds: float) -> Iterator[Any]:
        """What happens next, and all that happens in the same tenth of a second."""
        from batch_sdxl.cluster.lines import Heard

        until = min(self._events[0][0], self.now + seconds) if self._events else self.now + seconds
        self.now = max(self.now, until)
        while self._events and self._events[0][0] <= self.now + 0.1:
            _, _, worker, life, kind, value = heapq.heappop(self._events)
            if self._lives.get(worker) == life:
                self.losses += kind == "lost"
                yield Heard(worker, kind, value)

    def drop(self, worker: int) -> None:
        """Whatever it was about to say is not heard."""
        self._lives[worker] = self._lives.get(worker, 0) + 1

    def _add(self, at: float, worker: int, life: int, kind: str, value: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, worker, life, kind, value))


_NOTHING = np.empty((0, 0, 3), np.uint8)
_NO_RECORD: Any = None


def _simulate(workers: int, images: int, lost: float) -> None:
    lines = StandIns(lost)
    crew = Crew(lines, _orders(), lambda: workers, lambda text: None, clock=lambda: lines.now)
    crew.numerics(lambda: None)
    begin, cpu = lines.now, time.process_time()
    seen = _make(crew, images)
    spent, took = time.process_time() - cpu, lines.now - begin
    ideal = images / sum(1 / pace for pace in lines._pace.values())
    print(
        f"{workers} workers, {seen} images, {lines.losses} workers lost: {took:.0f} s of their "
        f"time, {ideal:.0f} s if none ever waited ({ideal / took:.1%}); the driver took "
        f"{1e6 * spent / images:.0f} us of its own for an image"
    )


def _make(crew: Crew, images: int) -> int:
    work = Work([Queue(deque(range(images)), LANES, 1.0)], _refuse)
    seen = set()
    for made in crew.make(work, _indices, _title, lambda: None, most=2 * LANES):
        assert made.index not in seen
        seen.add(made.index)
    assert len(seen) == images
    return len(seen)


def _refuse(index: int, error: Exception) -> None:
    raise AssertionError(f"image {index + 1}: {error}")


def _indices(piece: Piece) -> Any:
    return tuple(piece.indices)


def _title(piece: Piece) -> str:
    return f"images from {piece.indices[0] + 1}"


def _orders() -> Orders:
    import torch
    from batch_sdxl.core import ModelSpec

    precision = Precision("cpu", torch.float32, torch.float32, "sdpa")
    return Orders(precision, ModelSpec(), "d", "1")


class Crowd:
    """Many stand-ins in one actor: a stream of each waits without taking a process."""

    def __init__(self, pixels: int) -> None:
        """Make the one image that all of them give."""
        self._image = np.zeros((pixels, pixels, 3), np.uint8)
        self._latents = np.zeros((4, pixels // 8, pixels // 8), np.float32)

    async def make(self, indices: tuple[int, ...], seconds: float) -> Any:
        """Images by lanes, each wave after some seconds."""
        import asyncio

        for start in range(0, len(indices), LANES):
            await asyncio.sleep(seconds * LANES)
            for index in indices[start : start + LANES]:
                yield Made(index, self._image, self._latents, _NO_RECORD)


def _over_ray(workers: int, images: int, processes: int, pixels: int) -> None:
    import ray
    from batch_sdxl.cluster.lines import Heard, Lines

    _start_ray(processes)
    crowds = [
        ray.remote(Crowd).options(num_cpus=1, max_concurrency=workers).remote(pixels)
        for _ in range(processes)
    ]

    class Shared(Lines):
        """Ray's lines, whose far ends share a few processes."""

        def __init__(self) -> None:
            super().__init__(threads=1, gpus=0, cpus=1)
            self._said: deque[Heard] = deque()

        def start(self, worker: int) -> None:
            self._actors[worker] = crowds[worker % processes]
            self._calls[worker] = deque()

        def call(self, worker: int, method: str, *_arguments: Any) -> None:
            report = Report("node", "1", {"rows": 2}, "d" if method == "prepare" else "")
            self._said.append(Heard(worker, "answer", report))

        def stream(self, worker: int, method: str, argument: Any, *, title: str, most: int) -> None:
            pace = SECONDS * (0.7 + 0.8 * (worker * 7919 % 100) / 100)
            how = self._actors[worker].make.options(
                num_returns="streaming", name=title, _generator_backpressure_num_objects=most
            )
            self._calls[worker].append(how.remote(argument, pace))

        def listen(self, seconds: float) -> Iterator[Heard]:
            while self._said:
                yield self._said.popleft()
            yield from super().listen(seconds)

        def drop(self, worker: int) -> None:
            self._calls.pop(worker, None)

    try:
        crew = Crew(Shared(), _orders(), lambda: workers, lambda text: None)
        crew.numerics(lambda: None)
        begin, cpu = time.monotonic(), time.process_time()
        seen = _make(crew, images)
        spent, took = time.process_time() - cpu, time.monotonic() - begin
        print(
            f"{workers} workers in {processes} processes over Ray, {seen} images of {pixels} x "
            f"{pixels} in {took:.0f} s: the driver took {1e6 * spent / seen:.0f} us for an image"
        )
    finally:
        ray.shutdown()


def _start_ray(cpus: int) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=400 * 10**6,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
