"""UNet calls in which a row's bits do not depend on the other rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial

import torch

from ..models.model import Model
from ..numerics import Geometry
from ..pinning import pinned
from .backend import Backend
from .conditions.text import TextCondition
from .describe import Describer
from .diffusers_backend import backend_of
from .rows import Rows
from .trial import Memory, Trial


class Denoiser:
    """Calls the UNet at a fixed geometry, or smaller where that gives the same bits.

    Kernels are chosen by shape, and with them the order of sums: a call of one shape says nothing
    about the bits of another. On a CPU, though, calls of most even numbers of rows agree with the
    layers of `models.row_layers`. Which ones do is tried out on the machine.

    A compiled UNet has full calls only; there too it is tried whether places in a call agree.

    Tried in fp32 only: half precision rounds so coarsely that what differs may not show in what is
    tried. There, on a CPU, each row has a call of its own.
    """

    def __init__(self, model: Model | Backend, describer: Describer | None = None) -> None:
        """Call the UNet of `model`, for one run, of which `describer` tells the numerics."""
        self._model = backend_of(model)
        self._describer = describer or Describer(self._model)
        #: Kind of row, rows of a full call, threads -> what was seen.
        self._trials: dict[Hashable, Trial] = {}

    def __call__(self, rows: Rows, geometry: Geometry) -> torch.Tensor:
        """The UNet's output for at most `geometry.rows` rows: (R, 4, H/8, W/8) fp32."""
        with pinned(self._model.device):
            if self._model.takes_rows_alone:
                return self._each_alone(rows)
            if self._model.device.type == "cpu":
                return self._small(rows, geometry.rows)
            return _padded_call(self._model, rows, geometry.rows)

    def _small(self, rows: Rows, full: int) -> torch.Tensor:
        """Calls as small as those that agree with `full` rows, and as few, if they may be small."""
        kinds = rows.kinds()
        trials = {
            kind: self._trial(kind, rows.chosen(own[:1]), full) for kind, own in kinds.items()
        }
        if any(trial.alone for trial in trials.values()):
            return self._each_alone(rows)
        if self._model.full_calls:
            return _padded_call(self._model, rows, full)
        # A program may take away in the midst of a run what lengths share calls by.
        may_share = len(kinds) == 1 or self._model.mixes_lengths
        size = _common_size(list(trials.values()), len(rows)) if may_share else None
        if size is not None:
            return _padded_call(self._model, rows, size)
        parts = [self._small(rows.chosen(places), full) for places in kinds.values()]
        back = torch.tensor([place for places in kinds.values() for place in places]).argsort()
        return torch.cat(parts)[back]

    def _each_alone(self, rows: Rows) -> torch.Tensor:
        return torch.cat([_call(self._model, row) for row in rows.each()])

    def _trial(self, kind: Hashable, row: Rows, full: int) -> Trial:
        key = (kind, full, torch.get_num_threads())
        if key not in self._trials:
            numerics = self._describer.numerics(Geometry(full))
            memory = Memory(numerics, self._model.layers, kind)
            self._trials[key] = Trial(partial(_try, self._model, row), full, memory)
        return self._trials[key]


def _common_size(trials: Sequence[Trial], count: int) -> int | None:
    """The smallest number of rows, `count` or more, on which all agree; None if there is none."""
    mixed = len(trials) > 1
    while True:
        sizes = [trial.size_for(count, mixed=mixed) for trial in trials]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        if min(known) == max(known):
            return known[0]
        count = max(known)


def _try(model: Backend, row: Rows, count: int, *, mixed: bool) -> torch.Tensor:
    """What the UNet says of a row in so many places, of which the first has a longer prompt."""
    if not mixed:
        return _call(model, row.chosen([0] * count))
    conditions = tuple(
        each.longer() if isinstance(each, TextCondition) else each for each in row.conditions
    )
    longer = replace(row, conditions=conditions)
    return _call(model, Rows.joined([longer, row.chosen([0] * (count - 1))]))[1:]


def _padded_call(model: Backend, rows: Rows, size: int) -> torch.Tensor:
    return _call(model, rows.padded(size))[: len(rows)]


def _call(model: Backend, rows: Rows) -> torch.Tensor:
    """The one place where the UNet is called."""
    return model.unet(rows.call(model.device, model.input_dtype)).float()
