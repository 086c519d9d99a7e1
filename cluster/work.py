"""What is left to do, in pieces, and whose fault it is that one failed.

Workers pull. Pieces are as many images as fill an engine's lanes some times over, and get smaller
towards the end, so that all workers end at about the same time (guided self-scheduling, Polychro-
nopoulos and Kuck 1987).

A piece that fails goes to another worker. If that makes it, the first one is to blame; if all fail,
its images are tried one by one, and one that fails on all of them is that image's own error.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from ..core.errors import BatchSDXLError

#: Times that a piece fills an engine's lanes, at most.
WAVES = 4
#: Workers that a piece fails on before it is believed to be the piece's own fault; failures that a
#: worker is to blame for before it is left out; failures without an explanation before it has to
#: wait for one.
TRIES = 3


@dataclass(eq=False)
class Piece:
    """Images that one worker makes.

    Attributes:
        indices: of those that are not made yet.
        cost: of one of them, in any unit; what images cost is in proportion to it.
        failed_on: numbers of the workers that it failed on, since it was last explained.
        error: the newest.
    """

    indices: list[int]
    cost: float
    failed_on: set[int] = field(default_factory=set)
    error: BatchSDXLError | None = None


@dataclass
class Queue:
    """Images of one shape that nobody has taken yet.

    Attributes:
        indices: theirs.
        lanes: how many an engine makes at a time.
        cost: of one, as of a piece.
    """

    indices: deque[int]
    lanes: int
    cost: float


class Work:
    """The images of a run that are not made yet.

    Attributes:
        missing: their indices.
        queues: as given, without empty ones.
        blame: failures by worker that were its own fault, since its last success.
    """

    def __init__(
        self, queues: Iterable[Queue], fail: Callable[[int, BatchSDXLError], None]
    ) -> None:
        """Take the work on.

        Args:
            queues: what to do, in this order.
            fail: told of an image that cannot be made, and why.
        """
        self.queues = [queue for queue in queues if queue.indices]
        self._fresh = deque(self.queues)
        self._left = sum(len(queue.indices) for queue in self.queues)
        self._again: list[Piece] = []
        self._unexplained: set[Piece] = set()
        self._fail = fail
        self.missing = {index for queue in self._fresh for index in queue.indices}
        self.blame: Counter[int] = Counter()

    def take(self, worker: int, workers: int, *, ahead: bool = False) -> Piece | None:
        """Work for a worker, None where there is none for it now.

        Args:
            worker: its number.
            workers: how many share what is left.
            ahead: whether it has work already; then only what others will not be short of.
        """
        for piece in self._again:
            if worker not in piece.failed_on:
                self._again.remove(piece)
                return piece
        if not self._fresh or self._suspected(worker) >= TRIES:
            return None
        queue = self._fresh[0]
        if ahead and self._left <= workers * queue.lanes:
            return None
        size = min(len(queue.indices), _size(self._left, workers, queue.lanes))
        self._left -= size
        taken = [queue.indices.popleft() for _ in range(size)]
        if not queue.indices:
            self._fresh.popleft()
        return Piece(taken, queue.cost)

    def done(self, piece: Piece, index: int, worker: int) -> bool:
        """Take note that an image is made.

        Returns:
            Whether it is the first time.
        """
        piece.indices.remove(index)
        self.blame[worker] = 0
        self.blame.update(piece.failed_on)
        self._explain(piece)
        if index not in self.missing:
            return False
        self.missing.remove(index)
        return True

    def spoiled(self, piece: Piece, index: int, error: BatchSDXLError) -> None:
        """Take note that an image cannot be made by any worker, since it is its own fault."""
        piece.indices.remove(index)
        self._give_up(index, error)

    def failed(
        self, piece: Piece, worker: int, able: Collection[int], error: BatchSDXLError | None = None
    ) -> None:
        """Take a piece back.

        Args:
            piece: of which something may be left.
            worker: that had it.
            able: the workers that there are.
            error: what went wrong there; None for nothing that the piece has to do with.
        """
        if not piece.indices:
            self._explain(piece)
            return
        if error is not None:
            piece.failed_on.add(worker)
            piece.error = error
            self._unexplained.add(piece)
        self._again.append(piece)
        self.review(able)

    def review(self, able: Collection[int]) -> None:
        """See which pieces have failed on all workers that there are."""
        for piece in list(self._again):
            known = len(piece.failed_on)
            if not known or (known < TRIES and not piece.failed_on.issuperset(able)):
                continue
            self._again.remove(piece)
            self._explain(piece)
            assert piece.error is not None
            if len(piece.indices) == 1:
                self._give_up(piece.indices[0], piece.error)
            else:
                self._again += [Piece([index], piece.cost) for index in piece.indices]

    def _give_up(self, index: int, error: BatchSDXLError) -> None:
        self.missing.discard(index)
        self._fail(index, error)

    def _explain(self, piece: Piece) -> None:
        piece.failed_on.clear()
        self._unexplained.discard(piece)

    def _suspected(self, worker: int) -> int:
        return sum(worker in piece.failed_on for piece in self._unexplained)


def _size(left: int, workers: int, lanes: int) -> int:
    """Images of a piece when so many are left for so many workers."""
    share = max(-(-left // (2 * workers)), min(lanes, -(-left // workers)))
    size = min(share, WAVES * lanes)
    return size - size % lanes if size > lanes else size
