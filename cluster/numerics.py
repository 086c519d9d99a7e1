"""The numerics that workers compute with, compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.numerics import Geometry

#: What workers report their numerics for: with it they say everything there is to say.
PROBE = Geometry(2, 128)


def at(numerics: Mapping[str, Any], geometry: Geometry) -> dict[str, Any]:
    """Those of `PROBE` -> those of another geometry, in the same order."""
    changed = {"rows": geometry.rows, "vae_tile": geometry.vae_tile}
    found = {name: changed.get(name, value) for name, value in numerics.items()}
    if not geometry.vae_tile:
        del found["vae_tile"]
    return found


def difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What differs, for a person: `threads 2 instead of 1`; empty for nothing."""
    names = dict.fromkeys([*first, *other])
    parts = [
        f"{name} {_word(other, name)} instead of {_word(first, name)}"
        for name in names
        if first.get(name) != other.get(name)
    ]
    return ", ".join(parts)


def _word(numerics: Mapping[str, Any], name: str) -> str:
    return str(numerics.get(name, "none"))
