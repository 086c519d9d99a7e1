"""What a run does when it is asked to stop.

The first time, it finishes the images whose steps are done; the second time it stops at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from ..graph.run import StopAtOnce
from .signals import received_by

_SAID = "Stopping after the images whose steps are done; once more stops at once."


class Stopping:
    """What to do about requests to stop."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Nothing is caught before `catching`.

        Args:
            tell: says a line to the person.
        """
        self._tell = tell
        self._is_asked = False
        self._holds = False

    def catching(self) -> AbstractContextManager[None]:
        """Within the block, requests to stop come here."""
        return received_by(self._receive)

    @contextmanager
    def holding_on(self) -> Iterator[None]:
        """Within the block, the first request waits for `check`; elsewhere it stops at once."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def check(self) -> None:
        """Stop if that was asked for.

        Raises:
            KeyboardInterrupt: it was.
        """
        if self._is_asked:
            raise KeyboardInterrupt

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_asked or not self._holds:
            raise StopAtOnce
        self._is_asked = True
        self._tell(_SAID)
