"""Python's search for garbage, put off while almost everything that is made stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later() -> Iterator[None]:
    """Within the block, no garbage in circles is looked for.

    Importing the libraries of models makes 700,000 objects that stay for good. Python goes through
    them again and again while they grow, which is a fifth of the time that they take.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # Both together count all there is as old, without going through it. What a program has
        # frozen stays so.
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()
