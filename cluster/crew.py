"""The workers as the driver sees them: it gives out work, and hears what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.errors import BatchSDXLError, FailedImage, NoWorkers
from ..core.wording import counted
from .hand import Hand, Line, Orders
from .numerics import difference
from .pace import Limits, Patience, Speed, describe
from .told import capital, places, reason
from .work import TRIES, Piece, Work
from .worker import Made, Report, Spoiled, Trouble

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
        self._count = 0
        self._hands: dict[int, Hand] = {}
        self._out: dict[int, str] = {}
        self._first: Report | None = None
        self._parcel: Any = None
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
        while self._first is None:
            for _ in self._listen():  # nobody makes anything yet
                pass
            self._require(check)
        return self._first.numerics

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
        for hand in self._hands.values():
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
            for hand in list(self._hands.values()):
                if any(piece.indices for piece in hand.pieces):  # it was stopped
                    del self._hands[hand.number]
                    self._lines.drop(hand.number)
                    self._looked = -_LOOK

    @property
    def is_whole(self) -> bool:
        """Whether no worker was left out."""
        return not self._out

    def close(self) -> None:
        """End all workers."""
        for number in list(self._hands):
            self._lines.drop(number)
        self._hands.clear()

    def _grow(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        for _ in range(self._number() - len(self._hands) - len(self._out)):
            self._count += 1
            hand = Hand(self._count, Speed(f"worker {self._count}"))
            self._hands[hand.number] = hand
            self._call(hand)

    def _call(self, hand: Hand) -> None:
        """Start a worker, and ask it what it is."""
        hand.state, hand.trouble, hand.heard = "called", None, self._clock()
        self._lines.start(hand.number)
        self._lines.call(hand.number, "report", self.orders.precision)

    def _restart(self, hand: Hand) -> None:
        self._lines.drop(hand.number)
        self._call(hand)

    def _give(
        self,
        work: Work,
        task: Callable[[Piece], Any],
        title: Callable[[Piece], str],
        most: int,
    ) -> None:
        """Work for those that have none, then something ahead, so that none has to wait for us."""
        for hand in self._hands.values():
            if hand.state == "known":
                self._load(hand)
        for has in (0, 1):
            for hand in self._hands.values():
                if hand.state != "ready" or len(hand.pieces) != has:
                    continue
                piece = work.take(hand.number, len(self._hands), ahead=has == 1)
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

    def _load(self, hand: Hand) -> None:
        if self.orders.parcel is not None and self._parcel is None:
            self._parcel = self.orders.parcel()
        spec = self.orders.spec
        hand.state, hand.heard = "loading", self._clock()
        self._lines.call(hand.number, "prepare", spec, self._parcel)

    def _listen(self) -> Iterator[Made]:
        self._listened = self._clock()
        for heard in self._lines.listen(_NEWS):
            hand = self._hands.get(heard.worker)
            if hand is None:
                continue
            hand.heard = self._alive = self._clock()
            if heard.kind == "lost":
                self._lose(hand, reason(heard.value))
            elif heard.kind == "answer":
                self._answer(hand, heard.value)
            elif heard.kind == "end":
                self._end(hand)
            elif isinstance(made := self._item(hand, heard.value), Made):
                yield made

    def _answer(self, hand: Hand, said: Report | Trouble) -> None:
        if isinstance(said, Trouble):
            self._leave_out(hand, f"it cannot start: {said.error()}")
            return
        hand.speed.name = f"worker {hand.number} on {said.node}"
        if why := self._refusal(hand, said):
            self._leave_out(hand, why)
        elif hand.state == "loading":
            hand.state, hand.starts, hand.was_ready = "ready", 0, True
        else:
            hand.state = "known"

    def _refusal(self, hand: Hand, said: Report) -> str:
        """Why a worker cannot be used; empty where it can."""
        if said.version != self.orders.version:
            return f"batch-sdxl is {said.version} there instead of {self.orders.version}"
        if said.digest not in ("", self.orders.digest):
            return (
                f"its model is another: SHA-256 {said.digest[:16]}… instead of "
                f"{self.orders.digest[:16]}…"
            )
        if self._first is None:
            self._first = said
        other = difference(self._first.numerics, said.numerics)
        if other and self.orders.any_numerics:
            if hand.numerics != other:
                self._tell(f"{capital(hand.speed.name)} gives images of its own: {other}.")
            hand.numerics = other
            return ""
        return other

    def _item(self, hand: Hand, said: Made | Spoiled | Trouble) -> Made | None:
        work, piece = self._work, hand.pieces[0]
        assert work is not None
        if isinstance(said, Trouble):
            hand.trouble = said.error()
        elif isinstance(said, Spoiled):
            work.spoiled(piece, said.index, said.trouble.error())
        else:
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
        if hand.trouble is None and piece.cost:
            self._patience.took(piece.cost * images, hand.heard - start)
        if hand.pieces:
            self._begin(hand, hand.pieces[0])
        trouble, hand.trouble = hand.trouble, None
        if trouble is not None:
            self._tell(f"{capital(hand.speed.name)} failed: {trouble}")
        if work is not None:
            work.failed(piece, hand.number, self._able(), trouble)

    def _lose(self, hand: Hand, why: str) -> None:
        """Let go of a worker that is no more, and start another in its place."""
        self._return(hand, FailedImage("an image from a worker", why, "See its log."))
        if hand.state != "ready":
            hand.starts += 1
        if hand.starts >= TRIES:
            self._leave_out(hand, f"it did not start {TRIES} times: {why}")
            return
        self._tell(f"{capital(hand.speed.name)} is lost and started again: {why}")
        self._restart(hand)

    def _return(self, hand: Hand, error: BatchSDXLError | None) -> None:
        """Take its pieces back, of which the first was at work."""
        pieces = list(hand.pieces)
        hand.pieces.clear()
        for at, piece in enumerate(pieces):
            if self._work is not None:
                self._work.failed(piece, hand.number, self._able(), None if at else error)

    def _leave_out(self, hand: Hand, why: str) -> None:
        self._tell(f"{capital(hand.speed.name)} is left out: {why}")
        self._out[hand.number] = f"{hand.speed.name}: {why}"
        del self._hands[hand.number]
        self._lines.drop(hand.number)
        self._return(hand, None)
        if self._work is not None:
            self._work.review(self._able())

    def _leave_out_blamed(self, work: Work) -> None:
        for number, times in list(work.blame.items()):
            if times >= TRIES and number in self._hands:
                self._leave_out(
                    self._hands[number], f"it failed {times} times where others did not"
                )

    def _able(self) -> set[int]:
        return {number for number, hand in self._hands.items() if hand.was_ready}

    def _find_stuck(self) -> None:
        if self._listened - self._minded < _NEWS:
            return
        self._minded = self._listened
        for hand in list(self._hands.values()):
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
        is_at_work = any(hand.state in ("ready", "loading") for hand in self._hands.values())
        if is_at_work or (self._hands and waited < self._limits.start):
            return
        missing = ""
        if self._work is not None:
            missing = f" for the {counted(len(self._work.missing), 'images')} that are missing: "
            missing += places(sorted(self._work.missing))
        why = "; ".join(self._out.values()) or f"none within {waited:.0f} s"
        raise NoWorkers(
            f"workers{missing}",
            why,
            "What is finished is kept. Put right what is wrong with them, and run again.",
        )

    def _tell_speed(self) -> None:
        self._told = self._clock()
        text = describe((hand.speed for hand in self._hands.values()), self._clock)
        if text:
            self._tell(f"{text}.")
