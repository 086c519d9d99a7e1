"""Which program runs the nodes.

In ComfyUI `host/comfyui` answers. Elsewhere (tests, Python, the command line) a plain `Host` does,
and a program may put its own in place with `use`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .base import EXAMPLES, Host, ProgressDisplay

__all__ = ["EXAMPLES", "Host", "ProgressDisplay", "current", "use"]

_current: ContextVar[Host | None] = ContextVar("host", default=None)


def current() -> Host:
    """The host in charge: the one of `use`, else ComfyUI where it runs, else a plain one."""
    host = _current.get()
    if host is not None:
        return host
    if "folder_paths" not in sys.modules:
        return Host()
    from .comfyui.host import ComfyHost

    return ComfyHost()


@contextmanager
def use(host: Host) -> Iterator[None]:
    """Put `host` in charge within the block."""
    token = _current.set(host)
    try:
        yield
    finally:
        _current.reset(token)
