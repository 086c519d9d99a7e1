"""What the UNet is given: rows of all images in flight, put together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch

from .conditions.condition import Condition


@dataclass(frozen=True, eq=False)
class Rows:
    """A row for each guess that the UNet is asked for.

    Attributes:
        sample: (R, 4, H/8, W/8) fp32, scaled for the timestep.
        timestep: (R,) fp32.
        conditions: one of each kind, with as many rows.
    """

    sample: torch.Tensor
    timestep: torch.Tensor
    conditions: tuple[Condition, ...]

    def __len__(self) -> int:
        """Their number."""
        return len(self.sample)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All rows, one after the other; of the same kinds of conditions and the same shapes."""
        kinds = zip(*(part.conditions for part in parts), strict=True)
        return cls(
            torch.cat([part.sample for part in parts]),
            torch.cat([part.timestep for part in parts]),
            tuple(type(own[0]).joined(own) for own in kinds),
        )

    def call(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """The arguments of diffusers' UNet by name, on a device, the latents in a dtype."""
        call: dict[str, Any] = {
            "sample": self.sample.to(device, dtype),
            "timestep": self.timestep.to(device),
            "added_cond_kwargs": {},
        }
        for condition in self.conditions:
            condition.join(call)
        return call

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Rows:
        """The same with another tensor in the place of each."""
        conditions = tuple(condition.map(change) for condition in self.conditions)
        return Rows(change(self.sample), change(self.timestep), conditions)

    def padded(self, size: int) -> Rows:
        """The rows, and zeros up to `size` of them."""
        missing = size - len(self)
        return self.map(
            lambda part: (
                torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            )
        )

    def first(self, count: int) -> Rows:
        """So many of them."""
        return self.map(lambda part: part[:count])

    def each(self) -> Iterator[Rows]:
        """One after the other."""
        for place in range(len(self)):
            yield self.map(itemgetter(slice(place, place + 1)))

    def repeated(self, size: int) -> Rows:
        """The rows over and over, up to `size` of them."""
        order = torch.arange(size) % len(self)
        return self.map(lambda part: part[order.to(part.device)])

    @property
    def shape(self) -> Hashable:
        """What kernels are chosen by, beside the number of rows."""
        tensors = [self.sample, *(t for c in self.conditions for t in c.tensors())]
        return tuple((tensor.shape[1:], tensor.dtype) for tensor in tensors)
