"""Which numbers of rows have the bits of a full UNet call, as tried on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import torch

from ..user_cache import user_cache
from ..whole_files import write_whole

#: How trials are made; another way knows nothing of what this one saw.
_VERSION = 6


class Call(Protocol):
    """What the UNet says in a trial."""

    def __call__(self, count: int, *, mixed: bool) -> torch.Tensor:
        """See `Trial`."""


class Trial:
    """Calls of rows of one shape.

    Kernels are chosen by shape, never by what is in it, so rows that are all the same show what
    their number does to bits, and their places in a call.

    Attributes:
        alone: whether each row has to have a call of its own, since its bits depend on its place.
    """

    def __init__(self, call: Call, full: int, memory: Memory) -> None:
        """Find out about places, if that is not known.

        Args:
            call: what the UNet says of a row in so many places; of all but the first, which has
                another row, if `mixed`.
            full: rows of a full call.
            memory: of what was seen before.
        """
        self._call, self._full, self._memory = call, full, memory
        self._expected: torch.Tensor | None = None
        self.alone, self._agrees = memory.read()
        if not self._agrees.get(str(full)):  # nothing is known, or it is damaged
            self._agrees = {}
            expected = self._full_call()
            self.alone = not _are_same_bits(expected, expected[:1].expand_as(expected))
            self._note(str(full), agrees=True)

    def size_for(self, count: int, *, mixed: bool = False) -> int | None:
        """The smallest even number of rows, `count` or more, whose calls have a full one's bits.

        Args:
            count: of rows.
            mixed: whether others of another shape are among them; then None if no number has.
        """
        sizes = range(count + count % 2, self._full + 1, 2)
        return next((size for size in sizes if self._agree(size, mixed=mixed)), None)

    def _agree(self, size: int, *, mixed: bool) -> bool:
        name = f"{size} mixed" if mixed else str(size)
        if name not in self._agrees:
            result = self._call(size, mixed=mixed)
            self._note(name, agrees=_are_same_bits(result, self._full_call()[: len(result)]))
        return self._agrees[name]

    def _full_call(self) -> torch.Tensor:
        if self._expected is None:
            self._expected = self._call(self._full, mixed=False)
        return self._expected

    def _note(self, name: str, *, agrees: bool) -> None:
        self._agrees[name] = agrees
        self._memory.write(self.alone, self._agrees)


def _are_same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Also of numbers that are none, which a broken image has and which equal nothing."""
    return torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))


class Memory:
    """What was seen of calls of one shape, in a file of the user's cache folder.

    It holds for equal numerics and layers, whatever the weights.
    """

    def __init__(self, numerics: Mapping[str, Any], layers: str, shape: Hashable) -> None:
        """Of calls with `numerics` (of `numerics.fingerprint`) through `layers` (a name)."""
        key = json.dumps([_VERSION, dict(numerics), layers, str(shape)])
        self._path = user_cache() / "trials" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def read(self) -> tuple[bool, dict[str, bool]]:
        """`Trial.alone`, and kind of call -> whether it agrees; none if nothing is known."""
        try:
            alone, agrees = json.loads(self._path.read_text("utf-8"))
            return bool(alone), {str(call): bool(agree) for call, agree in agrees.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none, or damaged
            return False, {}

    def write(self, alone: bool, agrees: Mapping[str, bool]) -> None:
        """Remember what was seen."""
        with suppress(OSError):  # a read-only home costs time, not the run
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps([alone, dict(agrees)]).encode())
