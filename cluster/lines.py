"""Calls to workers, over Ray: one after the other for each, and what comes of them."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from . import process
from .worker import Trouble, Worker

#: This package as it is called here, and its folder.
_PACKAGE, _FOLDER = __name__.removesuffix(".cluster.lines"), Path(__file__).resolve().parents[1]

#: Numbers of all starts of this process, since other crews' workers have names too.
_starts = itertools.count(1)

#: Seconds between two looks at what workers said, for each worker: a fifth for a thousand.
_PAUSE = 2e-4


class Heard(NamedTuple):
    """Something that a worker said.

    Attributes:
        worker: its number.
        kind: `answer` of a call, `item` of a stream, `end` of one; `lost` where the worker is.
        value: the answer or item; of a lost worker the error.
    """

    worker: int
    kind: str
    value: Any = None


class Lines:
    """The lines to a crew's workers, which are actors of Ray.

    Calls of one worker are answered in their order, so only its oldest is waited for.
    """

    def __init__(
        self, *, threads: int | None, gpus: int, cpus: int, kind: type[Worker] = Worker
    ) -> None:
        """No worker is started yet.

        Args:
            threads: as of `Worker`.
            gpus: that each has to itself.
            cpus: likewise.
            kind: of worker.
        """
        self._worker = f"{kind.__module__}:{kind.__qualname__}", threads
        ray.cloudpickle.register_pickle_by_value(process)
        self._actor = ray.remote(process.BatchSDXLWorker)
        # A worker that is lost is replaced by us, who know what it had to do.
        self._options = {
            "num_gpus": gpus,
            "num_cpus": cpus,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        self._actors: dict[int, Any] = {}
        self._calls: dict[int, deque[Any]] = {}
        self._asked = 0.0

    def start(self, worker: int) -> None:
        """Start a worker, as soon as the cluster has room for it."""
        name = f"Batch SDXL worker {worker}"
        # Ray wants names to differ, also from those of actors that are just leaving.
        options = {**self._options, "name": f"{name}, start {next(_starts)}"}
        kind, threads = self._worker
        self._actors[worker] = self._actor.options(**options).remote(
            _PACKAGE, str(_FOLDER), kind, name, threads
        )
        self._calls[worker] = deque()

    def call(self, worker: int, method: str, *arguments: Any) -> None:
        """Ask for something that is answered once."""
        how = self._actors[worker].call.options(name=method)
        self._calls[worker].append(how.remote(method, *arguments))

    def stream(self, worker: int, method: str, argument: Any, *, title: str, most: int) -> None:
        """Ask for something that is answered item by item.

        Args:
            worker: whom.
            method: of it.
            argument: of the method.
            title: of the call in Ray's dashboard.
            most: items that may wait here until the worker does.
        """
        how = self._actors[worker].stream.options(
            num_returns="streaming", name=title, _generator_backpressure_num_objects=most
        )
        self._calls[worker].append(how.remote(method, argument))

    def listen(self, seconds: float) -> Iterator[Heard]:
        """What workers have said by now, at most one thing of each.

        Args:
            seconds: to wait where none has.
        """
        oldest = {calls[0]: worker for worker, calls in self._calls.items() if calls}
        if not oldest:
            return
        waiting = list(oldest)
        # Ray looks at each of them: so that of many more than one has something to say.
        pause = self._asked + _PAUSE * len(waiting) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._asked = time.monotonic()
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=seconds, fetch_local=False)
        for call in ready:
            worker = oldest[call]
            if worker in self._calls and self._calls[worker][0] is call:  # not hung up meanwhile
                yield self._read(worker, call)

    def drop(self, worker: int) -> None:
        """End a worker, whatever it does."""
        del self._calls[worker]
        with suppress(RayError):
            ray.kill(self._actors.pop(worker))

    def put(self, value: Any) -> Any:
        """Keep a value in the object store, and refer to it."""
        return ray.put(value)

    def _read(self, worker: int, call: Any) -> Heard:
        calls = self._calls[worker]
        try:
            if isinstance(call, ray.ObjectRefGenerator):
                try:
                    return Heard(worker, "item", ray.get(next(call)))
                except StopIteration:
                    calls.popleft()
                    return Heard(worker, "end")
            calls.popleft()
            return Heard(worker, "answer", ray.get(call))
        except RayTaskError as error:  # of a call: the worker itself is well
            kind = "item" if isinstance(call, ray.ObjectRefGenerator) else "answer"
            return Heard(worker, kind, Trouble.of(error.cause))
        except RayError as error:
            return Heard(worker, "lost", error)
