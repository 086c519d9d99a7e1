"""`batch-sdxl store`: what is kept of finished images, and how to be rid of it."""

from __future__ import annotations

import json
import sys

from ...core.store.chosen import FOLDER, GIGABYTES
from ...core.store.store import Usage
from ...core.wording import counted
from .host import users_store


def run(clear: bool, as_json: bool) -> int:
    """Show the store, or empty it; the exit code."""
    store = users_store()
    if store is None:
        sys.stdout.write("null\n" if as_json else f"The store is off: {GIGABYTES} is 0.\n")
        return 0
    usage = store.clear() if clear else store.usage()
    if as_json:
        entries = {"folder": str(usage.folder), "images": usage.images, "bytes": usage.size}
        sys.stdout.write(json.dumps(entries | {"limit": usage.limit}) + "\n")
    else:
        sys.stdout.write(("Removed: " if clear else "") + _in_words(usage) + "\n")
        if not clear:
            sys.stdout.write(
                f"Those unused for longest make room. {FOLDER} names another folder, {GIGABYTES} "
                "another limit; --clear empties it.\n"
            )
    return 0


def _in_words(usage: Usage) -> str:
    used, limit = map(_size, (usage.size, usage.limit))
    return f"{counted(usage.images, 'images')}, {used} of at most {limit}, in {usage.folder}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
