"""Names of files -> places below some folders, and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.saving.safe_names import is_device

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def resolve(name: str, roots: Sequence[Path]) -> Path | None:
    """The file or folder that a name means, without links, if it lies below one of the roots.

    A name is relative to a root, or absolute and below one. Refused on every platform, whether or
    not there is such a file: `..`, drive letters (but on Windows of an absolute name), UNC paths
    and the like of `\\\\?\\`, names of devices, control characters, links that lead out of all
    roots.

    Args:
        name: with / or \\ between its parts.
        roots: folders, first match wins.
    """
    relative = checked_name(with_home(name))
    if relative is None:
        return None
    resolved = [root.resolve() for root in roots]
    for root in resolved:
        # Too long a name is no file either, nor is a link to itself (a RuntimeError before 3.13).
        with suppress(OSError, ValueError, RuntimeError):
            path = (root / relative).resolve()
            if path.exists() and is_below(path, resolved):
                return path
    return None


def with_home(name: str) -> str:
    """A name whose `~/` is the home folder again."""
    return str(Path.home() / name[2:]) if name.startswith("~/") else name


def without_home(value: Any) -> Any:
    """JSON whose texts have `~` in place of the home folder: files that are shared tell no name.

    Args:
        value: parsed JSON, which stays as it is.
    """
    home = Path.home()
    # It may be a link: then names that are resolved have where it leads to.
    names = [name for name in dict.fromkeys((str(home.resolve()), str(home))) if len(name) > 1]
    if not names:
        return value
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return _replaced(
        re.compile(rf"(?:(?<![\w.~/\\-])|(?<=file://))(?:{either})(?=[/\\\s]|$)"), value
    )


def _replaced(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub("~", value)
    if isinstance(value, Mapping):
        return {name: _replaced(pattern, one) for name, one in value.items()}
    return [_replaced(pattern, one) for one in value] if isinstance(value, list | tuple) else value


def is_below(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path, its links followed, is one of the roots or lies below one.

    Args:
        path: any.
        roots: folders, resolved.
    """
    with suppress(OSError, RuntimeError):
        real = path.resolve()
        return any(real.is_relative_to(root) for root in roots)
    return False


def checked_name(name: str) -> str | None:
    """The name with / between its parts, None if it is refused as it stands."""
    if not name.strip() or _CONTROL.search(name):
        return None
    name = name.replace("\\", "/")
    on_windows = os.name == "nt"
    if name.startswith("//") or (_DRIVE.match(name) and not (on_windows and name[2:3] == "/")):
        return None
    parts = name.split("/")
    if on_windows and _DRIVE.match(name):
        del parts[0]
    for part in parts:
        # Windows drops dots and blanks at the end: there, "..." and ".. " can mean "..".
        dots = part.rstrip(" .") == "" and part not in ("", ".")
        if dots or is_device(part.strip()):
            return None
    return name
