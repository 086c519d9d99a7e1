"""UNet calls in which a row's bits do not depend on the other rows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ..models.model import Model
from ..numerics import Geometry
from ..pinning import pinned
from .backend import Backend
from .diffusers_backend import backend_of
from .rows import Rows


@dataclass
class _Seen:
    """What was seen of calls of one shape on this machine.

    Attributes:
        alone: whether linear layers have to take each row alone, since otherwise a row's bits
            depend on its place; None if that was not tried yet.
        agrees: numbers of rows that were tried -> whether their bits are those of a full call.
    """

    alone: bool | None = None
    agrees: dict[int, bool] = field(default_factory=dict)


#: `Backend.kernels` -> shape of the rows, rows of a full call and threads -> what was seen. As long
#: as they live, whoever calls.
_seen: WeakKeyDictionary[Any, dict[Hashable, _Seen]] = WeakKeyDictionary()


class Denoiser:
    """Calls the UNet at a fixed geometry, or smaller where that gives the same bits.

    Kernels are chosen by shape, and with them the order of sums: a call of one shape says nothing
    about the bits of another. On a CPU, though, calls of many an even number of rows have been seen
    to agree, once the linear layers over whole rows always get as many of them. Which ones do is
    tried out on the machine: the first call of a number of rows is made full as well. If even
    a row's place in a call matters there, linear layers take each row alone.

    Tried in fp32 only: half precision rounds so coarsely that what differs may not show in what is
    tried. There all calls are full, and linear layers take each row alone.
    """

    def __init__(self, model: Model | Backend) -> None:
        """Call the UNet of `model`."""
        self._model = backend_of(model)
        self._seen = _seen.setdefault(self._model.kernels, {})

    def __call__(self, rows: Rows, geometry: Geometry) -> torch.Tensor:
        """The UNet's output, (R, 4, H/8, W/8) fp32 on the CPU, for at most `geometry.rows` rows."""
        count, full = len(rows), geometry.rows
        with pinned(self._model.device):
            if self._model.takes_rows_alone:
                return self._call(rows)
            half = self._model.dtype != torch.float32
            if half or self._model.device.type != "cpu":
                with self._model.each_row_alone(half and self._model.device.type == "cpu"):
                    return self._call(rows.padded(full))[:count]
            seen = self._seen.setdefault((rows.shape, full, torch.get_num_threads()), _Seen())
            if seen.alone is None:
                seen.alone = self._places_matter(rows, full)
            with self._model.each_row_alone(seen.alone):
                for size in range(count + count % 2, full, 2):
                    if size not in seen.agrees:
                        return self._try(rows, size, full, seen.agrees)
                    if seen.agrees[size]:
                        return self._call(rows.padded(size))[:count]
                return self._call(rows.padded(full))[:count]

    def _places_matter(self, rows: Rows, full: int) -> bool:
        """Whether a row's bits depend on its place in a full call."""
        result = self._call(rows.first(1).repeated(full))
        return not all(torch.equal(row, result[0]) for row in result)

    def _try(self, rows: Rows, size: int, full: int, agrees: dict[int, bool]) -> torch.Tensor:
        """A full call, and small ones from `size` rows on until one agrees in every place."""
        probe = rows.repeated(full)
        expected = self._call(probe)
        for small in range(size, full, 2):
            if small not in agrees:
                result = self._call(probe.first(small))
                agrees[small] = torch.equal(result, expected[:small])
            if agrees[small]:
                break
        return expected[: len(rows)]

    def _call(self, rows: Rows) -> torch.Tensor:
        """The one place where the UNet is called."""
        call = rows.call(self._model.device, self._model.input_dtype)
        return self._model.unet(call).float().cpu()
