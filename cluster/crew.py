"""A crew at work: the driver gives out work, and hears what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.errors import BatchSDXLError, FailedImage, NoWorkers
from ..core.wording import counted
from .hand import Hand, Line, Orders
from .lively import Steps
from .pace import Limits, Patience, Speed, describe
from .roster import Roster
from .told import capital, places, reason
from .work import TRIES, Piece, Work
from .worker import Made, Spoiled, Trouble

#: Seconds: to wait for news, between looks for new machines, and between lines about the speed.
_NEWS, _LOOK, _TELL = 0.5, 10.0, 60.0


class Crew:
    """Workers with one model.

    Attributes:
        orders: what they are to be.
    """

    def __init__(
        self,
        lines: Line,
        orders: Orders,
        number: Callable[[], int],
        tell: Callable[[str], None],
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start as many workers as there is room for.

        Args:
            lines: to them.
            orders: for all of them.
            number: of workers that there should be now.
            tell: says a line to the person.
            limits: to patience.
            clock: seconds from any point on.
        """
        self.orders = orders
        self._lines = lines
        self._number = number
        self._tell = tell
        self._limits = limits or Limits()
        self._clock = clock
        self._roster = Roster(lines, orders, tell, clock)
        self._patience = Patience(self._limits)
        self._work: Work | None = None
        self._looked = -_LOOK
        self._listened = self._minded = self._told = self._alive = clock()
        self._grow()

    def numerics(self, check: Callable[[], None]) -> dict[str, Any]:
        """Those of the first worker, of calls with `numerics.PROBE`; waits for it.

        Args:
            check: called now and then; what it raises ends the waiting.

        Raises:
            NoWorkers: none can be had.
        """
        while self._roster.first is None:
            for _ in self._listen():  # nobody makes anything yet
                pass
            self._require(check)
        return self._roster.first.numerics

    def make(
        self,
        work: Work,
        task: Callable[[Piece], Any],
        title: Callable[[Piece], str],
        check: Callable[[], None],
        *,
        most: int,
    ) -> Iterator[Made]:
        """The images of some work, each once, as they are made.

        Args:
            work: to be done.
            task: what a worker is sent of a piece.
            title: of a piece, for people.
            check: called now and then; what it raises ends the work.
            most: images of a worker that may wait here until it does.

        Raises:
            NoWorkers: none is left.
        """
        self._work = work
        self._alive = self._told = self._clock()
        for hand in self._hands:
            hand.speed = Speed(hand.speed.name)
        try:
            while work.missing:
                self._grow()
                self._give(work, task, title, most)
                yield from self._listen()
                self._find_stuck()
                self._require(check)
                if self._clock() - self._told > _TELL:
                    self._tell_speed()
            self._tell_speed()
        finally:
            self._work = None
            for hand in self._hands:
                if any(piece.indices for piece in hand.pieces):  # it was stopped
                    self._roster.dismiss(hand)
                    self._looked = -_LOOK

    @property
    def under_way(self) -> int:
        """Steps that were taken for images that are not finished, as far as workers have said."""
        return sum(hand.under_way for hand in self._hands)

    @property
    def is_whole(self) -> bool:
        """Whether no worker was left out."""
        return not self._roster.out

    def close(self) -> None:
        """End all workers."""
        for hand in self._hands:
            self._roster.dismiss(hand)

    @property
    def _hands(self) -> list[Hand]:
        return list(self._roster.hands.values())

    def _grow(self) -> None:
        now = self._clock()
        if now - self._looked >= _LOOK:
            self._looked = now
            self._roster.grow(self._number())

    def _give(
        self,
        work: Work,
        task: Callable[[Piece], Any],
        title: Callable[[Piece], str],
        most: int,
    ) -> None:
        """Work for those that have none, then something ahead, so that none has to wait for us."""
        hands = self._hands
        for hand in hands:
            if hand.state == "known":
                self._roster.load(hand)
        for has in (0, 1):
            for hand in hands:
                if hand.state != "ready" or len(hand.pieces) != has:
                    continue
                piece = work.take(hand.number, len(hands), ahead=has == 1)
                if piece is None:
                    continue
                if not has:
                    self._begin(hand, piece)
                hand.pieces.append(piece)
                self._lines.stream(hand.number, "make", task(piece), title=title(piece), most=most)

    def _begin(self, hand: Hand, piece: Piece) -> None:
        hand.heard = self._clock()
        hand.speed.since = hand.speed.since or hand.heard
        hand.began = hand.heard, len(piece.indices)

    def _listen(self) -> Iterator[Made]:
        self._listened = self._clock()
        for heard in self._lines.listen(_NEWS):
            hand = self._roster.hands.get(heard.worker)
            if hand is None:
                continue
            hand.heard = self._alive = self._clock()
            if heard.kind == "lost":
                self._lose(hand, reason(heard.value))
            elif heard.kind == "answer":
                if why := self._roster.meet(hand, heard.value):
                    self._leave_out(hand, why)
            elif heard.kind == "end":
                self._end(hand)
            elif isinstance(made := self._item(hand, heard.value), Made):
                yield made

    def _item(self, hand: Hand, said: Made | Spoiled | Steps | Trouble) -> Made | None:
        work, piece = self._work, hand.pieces[0]
        assert work is not None
        if isinstance(said, Trouble):
            hand.trouble = said.error()
        elif isinstance(said, Spoiled):
            work.spoiled(piece, said.index, said.trouble.error())
        elif isinstance(said, Steps):
            hand.under_way = said.under_way
        else:
            hand.under_way = said.under_way
            hand.speed.made(hand.heard)
            was_failed = bool(piece.failed_on)
            is_new = work.done(piece, said.index, hand.number)
            if was_failed:
                self._leave_out_blamed(work)
            return said if is_new else None
        return None

    def _end(self, hand: Hand) -> None:
        work, piece = self._work, hand.pieces.popleft()
        start, images = hand.began
        hand.under_way = 0
        if hand.trouble is None and piece.cost:
            self._patience.took(piece.cost * images, hand.heard - start)
        if hand.pieces:
            self._begin(hand, hand.pieces[0])
        trouble, hand.trouble = hand.trouble, None
        if trouble is not None:
            self._tell(f"{capital(hand.speed.name)} failed: {trouble}")
        if work is not None:
            work.failed(piece, hand.number, self._roster.able, trouble)

    def _lose(self, hand: Hand, why: str) -> None:
        """Let go of a worker that is no more, and start another in its place."""
        self._return(hand, FailedImage("an image from a worker", why, "See its log."))
        if hopeless := self._roster.lose(hand, why):
            self._leave_out(hand, hopeless)

    def _return(self, hand: Hand, error: BatchSDXLError | None) -> None:
        """Take its pieces back, of which the first was at work."""
        pieces = list(hand.pieces)
        hand.pieces.clear()
        hand.under_way = 0
        for at, piece in enumerate(pieces):
            if self._work is not None:
                able = self._roster.able
                self._work.failed(piece, hand.number, able, None if at else error)

    def _leave_out(self, hand: Hand, why: str) -> None:
        self._roster.leave_out(hand, why)
        self._return(hand, None)
        if self._work is not None:
            self._work.review(self._roster.able)

    def _leave_out_blamed(self, work: Work) -> None:
        for number, times in list(work.blame.items()):
            if times >= TRIES and number in self._roster.hands:
                hand = self._roster.hands[number]
                self._leave_out(hand, f"it failed {times} times where others did not")

    def _find_stuck(self) -> None:
        if self._listened - self._minded < _NEWS:
            return
        self._minded = self._listened
        for hand in self._hands:
            silent = self._listened - hand.heard
            if hand.state == "loading":
                allowed = self._limits.start
            elif hand.pieces:
                allowed = self._patience.of(hand.pieces[0])
            else:
                continue
            if silent > allowed:
                self._lose(hand, f"it said nothing for {silent:.0f} s")

    def _require(self, check: Callable[[], None]) -> None:
        """See that somebody works, or may come yet.

        Raises:
            NoWorkers: nobody does.
        """
        check()
        waited = self._clock() - self._alive
        hands = self._hands
        is_at_work = any(hand.state in ("ready", "loading") for hand in hands)
        if is_at_work or (hands and waited < self._limits.start):
            return
        missing = ""
        if self._work is not None:
            missing = f" for the {counted(len(self._work.missing), 'images')} that are missing: "
            missing += places(sorted(self._work.missing))
        why = "; ".join(self._roster.out.values()) or f"none within {waited:.0f} s"
        raise NoWorkers(
            f"workers{missing}",
            why,
            "What is finished is kept. Put right what is wrong with them, and run again.",
        )

    def _tell_speed(self) -> None:
        self._told = self._clock()
        text = describe((hand.speed for hand in self._hands), self._clock)
        if text:
            self._tell(f"{text}.")
