"""What is asked of a cluster's head, which may be no more."""

from __future__ import annotations

import socket
from collections.abc import Callable
from queue import Empty, Queue
from threading import Thread
from typing import TypeVar

from ..core.errors import NoWorkers

#: Seconds until a cluster is taken for one that cannot be reached, and until its head is taken for
#: lost, which may be started again meanwhile.
PATIENCE, LOST = 10.0, 30.0

T = TypeVar("T")


def asked(ask: Callable[[], T]) -> T:
    """What the head says; Ray itself would wait for it without end, or end the process.

    Raises:
        NoWorkers: it says nothing.
    """
    said: Queue[T] = Queue()
    Thread(target=lambda: said.put(ask()), daemon=True).start()
    try:
        return said.get(timeout=LOST)
    except Empty:
        raise NoWorkers(
            "an answer of the head of the Ray cluster",
            f"none within {LOST:.0f} s",
            "See that it runs (ray status). What is finished is kept: run again.",
        ) from None


def machines() -> list[float]:
    """CPUs of each node that has any to give."""
    import ray

    nodes = [node for node in asked(ray.nodes) if node["Alive"]]
    return [cpus for node in nodes if (cpus := node["Resources"].get("CPU", 0)) >= 1] or [1.0]


def knock(address: str) -> None:
    """Raise OSError where nothing answers at `host:port`: Ray itself tries for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
