"""UNet calls in which a row's bits do not depend on the other rows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ..models.model import Model
from ..models.row_linear import use_row_linears
from ..numerics import Geometry
from ..pinning import pinned
from .rows import Rows

#: UNet -> shape of the rows, rows of a full call and threads -> numbers of rows that were tried,
#: and whether they agree with a full call. As long as the UNet lives, whoever calls it.
_tried: WeakKeyDictionary[Any, dict[Hashable, dict[int, bool]]] = WeakKeyDictionary()


class Denoiser:
    """Calls the UNet at a fixed geometry, or smaller where that gives the same bits.

    Kernels are chosen by shape, and with them the order of sums: a call of one shape says nothing
    about the bits of another. On a CPU, though, calls of many an even number of rows have been seen
    to agree, once the linear layers over whole rows always get as many of them. Which ones do is
    tried out on the machine: the first call of a number of rows is made full as well.
    """

    def __init__(self, model: Model) -> None:
        """Call the UNet of `model`."""
        self._model = model
        use_row_linears(model.unet)
        # LoRAs change weights; kernels are chosen by everything but those.
        self._tried = _tried.setdefault((model.base or model).unet, {})

    def __call__(self, rows: Rows, geometry: Geometry) -> torch.Tensor:
        """The UNet's output, (R, 4, H/8, W/8) fp32 on the CPU, for at most `geometry.rows` rows."""
        count, full = len(rows), geometry.rows
        with pinned(self._model.device):
            if self._model.device.type != "cpu":
                return self._call(rows.padded(full))[:count]
            tried = self._tried.setdefault((rows.shape, full, torch.get_num_threads()), {})
            for size in range(count + count % 2, full, 2):
                if size not in tried:
                    return self._try(rows, size, full, tried)
                if tried[size]:
                    return self._call(rows.padded(size))[:count]
            return self._call(rows.padded(full))[:count]

    def _try(self, rows: Rows, size: int, full: int, tried: dict[int, bool]) -> torch.Tensor:
        """A full call, and small ones from `size` rows on until one agrees in every place."""
        probe = rows.repeated(full)
        expected = self._call(probe)
        for small in range(size, full, 2):
            if small not in tried:
                result = self._call(probe.first(small))
                tried[small] = torch.equal(result, expected[:small])
            if tried[small]:
                break
        return expected[: len(rows)]

    def _call(self, rows: Rows) -> torch.Tensor:
        """The one place where the UNet is called."""
        device, dtype = self._model.device, self._model.dtype
        call: dict[str, Any] = {
            "sample": rows.sample.to(device, dtype),
            "timestep": rows.timestep.to(device),
            "added_cond_kwargs": {},
        }
        for condition in rows.conditions:
            condition.join(call)
        (output,) = self._model.unet(**call, return_dict=False)
        predictions: torch.Tensor = output.float().cpu()
        return predictions
