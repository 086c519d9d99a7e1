"""How often a run is looked at, by what looking takes of its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median_low

#: What drawing may take of the run's time, and what finding out colours may. Together, with what
#: can't be foreseen, they stay under 2 % in runs of more than some seconds.
SHARE, COLOURS_SHARE = 0.012, 0.005
#: Seconds before the first drawing, between two at least, and after which a finished image is to be
#: seen at the latest.
FIRST, PERIOD, SOON = 1.0, 0.3, 1.0
#: The most that tiles of images in work may take of a drawing, in times all the rest of it.
TILES = 2.0


#: Times of a kind that are remembered: the newest.
RECENT = 9


class Cost:
    """Of something that is done again and again.

    Its median: what takes longer now and then is done for the first time, or waits for other work
    of the machine.
    """

    def __init__(self) -> None:
        """Nothing was done yet."""
        self._count = 0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def took(self, seconds: float, count: int = 1) -> None:
        """So many, at least one, took so long together."""
        self._count += count
        self._recent.append(seconds / count)

    @property
    def each(self) -> float:
        """Seconds that one takes; 0 where none was done."""
        return median_low(self._recent) if self._recent else 0.0

    @property
    def total(self) -> float:
        """Seconds that all so far take."""
        return self._count * self.each

    @property
    def is_known(self) -> bool:
        """Whether one was done that was not the first."""
        return self._count > 1


class Pace:
    """Keeps account of what looking takes, and allows it while that is a small share of the time.

    Attributes:
        sheet: cost of a drawing without its tiles of images in work.
        tile: of one of these.
        look: of finding out the colours of one image.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """The run begins now.

        Args:
            clock: seconds from any point on.
        """
        self._clock = clock
        self._begin = clock()
        self._last: float | None = None
        self.sheet, self.tile, self.look = Cost(), Cost(), Cost()

    def drawn(self) -> None:
        """A drawing is done."""
        self._last = self._clock()

    def allows_drawing(self, running: int, *, finished: bool) -> bool:
        """Whether a drawing is due and paid for.

        Args:
            running: images in work, of which as many have new tiles as `tiles` says.
            finished: whether an image is finished that is not drawn yet. A person waits for that
                more than for anything else, so others leave time for it.
        """
        elapsed = self._clock() - self._begin
        if self._last is None:
            return elapsed >= FIRST
        if elapsed + self._begin - self._last < PERIOD:
            return False
        if finished:
            return self._left(elapsed) >= self.sheet.each
        needed = self.sheet.each + min(running * self.tile.each, self._most_tiles)
        is_paid = self._spent + needed <= SHARE * elapsed
        return is_paid and self._left(elapsed + SOON) >= needed + self.sheet.each

    def tiles(self, running: int) -> int:
        """For how many tiles of so many images in work a drawing has time; for all at first."""
        if not self.tile.each:
            return running
        left = SHARE * (self._clock() - self._begin) - self._spent - self.sheet.each
        return min(running, max(0, int(min(left, self._most_tiles) / self.tile.each)))

    @property
    def allows_look(self) -> bool:
        """Whether finding out the colours of one more image is paid for, or has no price yet."""
        if not self.look.is_known:
            return True
        elapsed = self._clock() - self._begin
        return self.look.total + self.look.each <= COLOURS_SHARE * elapsed

    @property
    def _most_tiles(self) -> float:
        return max(self.tile.each, TILES * self.sheet.each)

    @property
    def _spent(self) -> float:
        return self.sheet.total + self.tile.total

    def _left(self, elapsed: float) -> float:
        """Seconds that are not spent yet, so long after the beginning."""
        return (SHARE + COLOURS_SHARE) * elapsed - self._spent - self.look.total
