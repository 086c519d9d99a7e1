"""Ctrl-C, and the system's ways to ask a program to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

#: Those that there are: Windows has no SIGHUP.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def received_by(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, they come there, if it is run by the main thread.

    Those that are ignored stay so.
    """
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    stack.callback(signal.signal, number, signal.signal(number, receive))
        yield


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Do what Ctrl-C does to any Python program.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt
