"""How fast workers are, and from when on one is taken for stuck."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from ..core.wording import counted
from .work import Piece

#: Pieces that the usual speed is taken over.
_PIECES = 200
#: Workers that are told of by name.
_NAMED = 4
#: Share of the usual speed below which a worker is called slow.
_SLOW = 0.5


@dataclass(frozen=True)
class Limits:
    """Seconds after which nobody is waited for any more.

    Attributes:
        start: for a model to be loaded, and for the first worker to come.
        silence: at least, between two words of a worker that has work.
        factor: times the median of what such a piece takes, that silence may last.
    """

    start: float = 1800.0
    silence: float = 120.0
    factor: float = 10.0


class Patience:
    """How long a piece may take, by those that are done."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is known yet."""
        self._limits = limits
        self._seen: deque[float] = deque(maxlen=_PIECES)
        self._usual: float | None = None

    def took(self, cost: float, seconds: float) -> None:
        """Take note of a finished piece, of that cost in all."""
        self._seen.append(seconds / cost)
        self._usual = None

    def of(self, piece: Piece) -> float:
        """Seconds of silence that are usual in a piece, and many more."""
        if not self._seen:
            return self._limits.start
        if self._usual is None:
            self._usual = median(self._seen)
        usual = self._usual * piece.cost * max(1, len(piece.indices))
        return max(self._limits.silence, self._limits.factor * usual)


@dataclass
class Speed:
    """What a worker has made, and in which time.

    Attributes:
        name: of the worker, for people.
        images: that it has made.
        since: when it began.
        until: when it was done with the newest.
    """

    name: str
    images: int = 0
    since: float = 0.0
    until: float = 0.0

    def made(self, now: float) -> None:
        """Take note of an image."""
        self.images += 1
        self.until = now

    @property
    def rate(self) -> float:
        """Images a second; 0 where that can't be told yet."""
        seconds = self.until - self.since
        return self.images / seconds if self.images and seconds > 0 else 0.0


def describe(speeds: Iterable[Speed], clock: Callable[[], float] = time.monotonic) -> str:
    """All workers together, and some of them: `40 images, 2.1 images/s by 2 workers: …`."""
    known = sorted((one for one in speeds if one.rate), key=lambda one: one.rate)
    if not known:
        return ""
    now = clock()
    images = sum(one.images for one in known)
    together = images / max(now - min(one.since for one in known), 1e-9)
    usual = median(one.rate for one in known)
    slow = [one for one in known if one.rate < _SLOW * usual]
    told = known if len(known) <= _NAMED else slow[:_NAMED] or [known[0], known[-1]]
    parts = [
        f"{one.name} {one.rate:.2g} images/s" + " (slow)" * (one in slow) for one in reversed(told)
    ]
    more = f", {len(known) - len(told)} more around {usual:.2g}" if len(told) < len(known) else ""
    by = counted(len(known), "workers")
    return f"{counted(images, 'images')}, {together:.2g} images/s by {by}: {', '.join(parts)}{more}"
