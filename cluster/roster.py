"""Who the workers of a crew are: started, met, loaded with the model, left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .hand import Hand, Line, Orders
from .numerics import difference
from .pace import Speed
from .told import capital
from .work import TRIES
from .worker import Report, Trouble


class Roster:
    """The workers that there are, and those that cannot be used.

    Attributes:
        orders: what they are to be.
        hands: those that there are, by number.
        out: those that were left out: number -> name and why.
        first: what the first said of itself, by which the others are measured.
    """

    def __init__(
        self,
        lines: Line,
        orders: Orders,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """Nobody is there.

        Args:
            lines: to them.
            orders: for all of them.
            tell: says a line to the person.
            clock: seconds from any point on.
        """
        self.orders = orders
        self.hands: dict[int, Hand] = {}
        self.out: dict[int, str] = {}
        self.first: Report | None = None
        self._lines = lines
        self._tell = tell
        self._clock = clock
        self._count = 0
        self._parcel: Any = None

    @property
    def able(self) -> set[int]:
        """Numbers of those that have ever had the model."""
        return {number for number, hand in self.hands.items() if hand.was_ready}

    def grow(self, number: int) -> None:
        """Start as many as are missing of so many in all."""
        for _ in range(number - len(self.hands) - len(self.out)):
            self._count += 1
            hand = Hand(self._count, Speed(f"worker {self._count}"))
            self.hands[hand.number] = hand
            self._call(hand)

    def load(self, hand: Hand) -> None:
        """Have a worker load the model."""
        if self.orders.parcel is not None and self._parcel is None:
            self._parcel = self.orders.parcel()
        if not any(other.state in ("loading", "ready") for other in self.hands.values()):
            self._tell(f"{capital(hand.speed.name)} loads the model.")
        hand.state, hand.heard = "loading", self._clock()
        self._lines.call(hand.number, "prepare", self.orders.spec, self._parcel)

    def meet(self, hand: Hand, said: Report | Trouble) -> str:
        """Hear what a worker says of itself, or of the model that it has loaded.

        Returns:
            Why it cannot be used; empty where it can.
        """
        if isinstance(said, Trouble):
            return f"it cannot start: {said.error()}"
        hand.speed.name = f"worker {hand.number} on {said.node}"
        if why := self._refusal(hand, said):
            return why
        if hand.state == "loading":
            hand.state, hand.starts, hand.was_ready = "ready", 0, True
        else:
            hand.state = "known"
        return ""

    def lose(self, hand: Hand, why: str) -> str:
        """Start another one in the place of a worker that is no more.

        Returns:
            Why none can be had; empty where one is started.
        """
        if hand.state != "ready":
            hand.starts += 1
        if hand.starts >= TRIES:
            return f"it did not start {TRIES} times: {why}"
        self._tell(f"{capital(hand.speed.name)} is lost and started again: {why}")
        self._lines.drop(hand.number)
        self._call(hand)
        return ""

    def leave_out(self, hand: Hand, why: str) -> None:
        """End a worker for good, and say why."""
        self._tell(f"{capital(hand.speed.name)} is left out: {why}")
        self.out[hand.number] = f"{hand.speed.name}: {why}"
        self.dismiss(hand)

    def dismiss(self, hand: Hand) -> None:
        """End a worker; another one may come."""
        del self.hands[hand.number]
        self._lines.drop(hand.number)

    def _call(self, hand: Hand) -> None:
        """Start a worker, and ask it what it is."""
        hand.state, hand.trouble, hand.heard = "called", None, self._clock()
        self._lines.start(hand.number)
        self._lines.call(hand.number, "report", self.orders.precision)

    def _refusal(self, hand: Hand, said: Report) -> str:
        """Why a worker cannot be used; empty where it can."""
        if said.version != self.orders.version:
            return f"batch-sdxl is {said.version} there instead of {self.orders.version}"
        if said.digest not in ("", self.orders.digest):
            return (
                f"its model is another: SHA-256 {said.digest[:16]}… instead of "
                f"{self.orders.digest[:16]}…"
            )
        if self.first is None:
            self.first = said
        other = difference(self.first.numerics, said.numerics)
        if other and self.orders.any_numerics:
            if hand.numerics != other:
                self._tell(f"{capital(hand.speed.name)} gives images of its own: {other}.")
            hand.numerics = other
            return ""
        return other
