"""Which numbers of rows have the bits of a full UNet call, as tried on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any

import torch

from ..user_cache import user_cache
from ..whole_files import write_whole
from .rows import Rows

#: How trials are made; another way knows nothing of what this one saw.
_VERSION = 1


class Trial:
    """Calls of one shape.

    Kernels are chosen by shape, never by what is in it, so rows that are all the same show what
    their number does to bits, and their places in a call.

    Attributes:
        alone: whether each row has to have a call of its own, since its bits depend on its place.
    """

    def __init__(
        self, call: Callable[[Rows], torch.Tensor], row: Rows, full: int, memory: Memory
    ) -> None:
        """Find out about places, if that is not known.

        Args:
            call: the UNet's, of any number of rows.
            row: one, of the shape.
            full: rows of a full call.
            memory: of what was seen before.
        """
        self._call, self._row, self._full, self._memory = call, row, full, memory
        self._expected: torch.Tensor | None = None
        self.alone, self._agrees = memory.read()
        if not self._agrees:
            expected = self._full_call()
            self.alone = not _are_same_bits(expected, expected[:1].expand_as(expected))
            self._note(full, agrees=True)

    def size_for(self, count: int) -> int:
        """The smallest even number of rows, `count` or more, whose calls have a full one's bits."""
        sizes = range(count + count % 2, self._full + 1, 2)
        return next(size for size in sizes if size == self._full or self._agree(size))

    def _agree(self, size: int) -> bool:
        if size not in self._agrees:
            result = self._call(self._row.repeated(size))
            self._note(size, agrees=_are_same_bits(result, self._full_call()[:size]))
        return self._agrees[size]

    def _full_call(self) -> torch.Tensor:
        if self._expected is None:
            self._expected = self._call(self._row.repeated(self._full))
        return self._expected

    def _note(self, size: int, *, agrees: bool) -> None:
        self._agrees[size] = agrees
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

    def read(self) -> tuple[bool, dict[int, bool]]:
        """`Trial.alone`, and number of rows -> whether it agrees; none if nothing is known."""
        try:
            alone, agrees = json.loads(self._path.read_text("utf-8"))
            return bool(alone), {int(size): bool(agree) for size, agree in agrees.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none, or damaged
            return False, {}

    def write(self, alone: bool, agrees: Mapping[int, bool]) -> None:
        """Remember what was seen."""
        with suppress(OSError):  # a read-only home costs time, not the run
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps([alone, dict(agrees)]).encode())
