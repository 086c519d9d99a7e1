"""A worker as the driver sees it, what it is to be, and the lines to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.errors import BatchSDXLError
from ..core.models.spec import ModelSpec
from .pace import Speed
from .work import Piece
from .worker import Precision


class Line(Protocol):
    """What `lines.Lines` does, so that simulations can stand in for it."""

    def start(self, worker: int) -> None: ...  # noqa: D102
    def call(self, worker: int, method: str, *arguments: Any) -> None: ...  # noqa: D102
    def stream(self, worker: int, method: str, argument: Any, *, title: str, most: int) -> None: ...  # noqa: D102
    def listen(self, seconds: float) -> Iterator[Any]: ...  # noqa: D102
    def drop(self, worker: int) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Orders:
    """What all workers of a crew are to be.

    Attributes:
        precision: what the driver knows of their numerics.
        spec: of their model.
        digest: of it.
        version: of this package.
        parcel: makes the model's files ready to be sent; None where each node has its own.
        any_numerics: whether workers may differ from the first.
    """

    precision: Precision
    spec: ModelSpec
    digest: str
    version: str
    parcel: Callable[[], Any] | None = None
    any_numerics: bool = False


@dataclass
class Hand:
    """A worker.

    Attributes:
        number: its own, from 1.
        state: `called`, `known` by its report, `loading`, or `ready`.
        pieces: that it has, the one at work first.
        heard: when it said something, or got something to do, last.
        began: when it began with its first piece, and the number of images in that.
        trouble: what failed the piece at work.
        under_way: steps it has taken for images of that which are not finished.
        starts: in a row that came to nothing.
        was_ready: whether it ever was.
        numerics: in what they differ from the first worker's.
    """

    number: int
    speed: Speed
    state: str = "called"
    pieces: deque[Piece] = field(default_factory=deque)
    heard: float = 0.0
    began: tuple[float, int] = (0.0, 0)
    trouble: BatchSDXLError | None = None
    under_way: int = 0
    starts: int = 0
    was_ready: bool = False
    numerics: str = ""
