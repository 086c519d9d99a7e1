"""UNet calls in which a row's bits do not depend on the other rows."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import torch

from ..models.model import Model
from ..numerics import Geometry
from ..pinning import pinned
from .backend import Backend
from .describe import Describer
from .diffusers_backend import backend_of
from .rows import Rows
from .trial import Memory, Trial


class Denoiser:
    """Calls the UNet at a fixed geometry, or smaller where that gives the same bits.

    Kernels are chosen by shape, and with them the order of sums: a call of one shape says nothing
    about the bits of another. On a CPU, though, calls of most even numbers of rows agree with the
    layers of `models.row_layers`. Which ones do is tried out on the machine.

    Tried in fp32 only: half precision rounds so coarsely that what differs may not show in what is
    tried. There, on a CPU, each row has a call of its own.
    """

    def __init__(self, model: Model | Backend, describer: Describer | None = None) -> None:
        """Call the UNet of `model`, for one run, of which `describer` tells the numerics."""
        self._model = backend_of(model)
        self._describer = describer or Describer(self._model)
        #: Shape of the rows, rows of a full call, threads -> what was seen.
        self._trials: dict[Hashable, Trial] = {}

    def __call__(self, rows: Rows, geometry: Geometry) -> torch.Tensor:
        """The UNet's output, (R, 4, H/8, W/8) fp32 on the CPU, for at most `geometry.rows` rows."""
        count, full = len(rows), geometry.rows
        with pinned(self._model.device):
            if self._model.takes_rows_alone:
                return self._each_alone(rows)
            if self._model.device.type == "cpu":
                trial = self._trial(rows, full)
                if trial.alone:
                    return self._each_alone(rows)
                full = trial.size_for(count)
            return _call(self._model, rows.padded(full))[:count]

    def _each_alone(self, rows: Rows) -> torch.Tensor:
        return torch.cat([_call(self._model, row) for row in rows.each()])

    def _trial(self, rows: Rows, full: int) -> Trial:
        key = (rows.shape, full, torch.get_num_threads())
        if key not in self._trials:
            numerics = self._describer.numerics(Geometry(full))
            memory = Memory(numerics, self._model.layers, rows.shape)
            self._trials[key] = Trial(partial(_call, self._model), rows.first(1), full, memory)
        return self._trials[key]


def _call(model: Backend, rows: Rows) -> torch.Tensor:
    """The one place where the UNet is called."""
    return model.unet(rows.call(model.device, model.input_dtype)).float().cpu()
