"""Ctrl-C, and the system's ways to ask a program to stop.

The first time, a run finishes the images whose steps are done; the second time it stops at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from ..graph.run import StopAtOnce

#: Those that there are: Windows has no SIGHUP.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

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

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Within the block, the system's signals come here; those that are ignored stay so."""
        with ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                for number in _SIGNALS:
                    if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                        before = signal.signal(number, self._receive)
                        stack.callback(signal.signal, number, before)
            yield

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
