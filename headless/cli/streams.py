"""Standard output and error that may go away: a closed pipe or terminal must not end a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO


class Tolerant:
    """A stream that takes what its own one can take, and drops the rest without a word."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None, as a program without a console has it, takes nothing."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                raise
            except (OSError, ValueError):
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def isatty(self) -> bool:
        """Whether a person sees it."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """Anything else is the stream's own."""
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        """Have what is left in its buffer go nowhere, or Python would complain when it ends."""
        stream, self._stream = self._stream, None
        with suppress(OSError, ValueError, AttributeError):
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, stream.fileno())  # type: ignore[union-attr]
            os.close(handle)


@contextmanager
def tolerant() -> Iterator[None]:
    """Within the block, both streams may go away."""
    own: list[Any] = [Tolerant(sys.stdout), Tolerant(sys.stderr)]
    with redirect_stdout(own[0]), redirect_stderr(own[1]):
        try:
            yield
        finally:
            for stream in own:
                stream.flush()
