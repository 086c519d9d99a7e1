"""What the UNet is given: rows of all images in flight, put together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .conditions.condition import Condition


@dataclass(frozen=True, eq=False)
class Rows:
    """A row for each guess that the UNet is asked for.

    Attributes:
        sample: (R, 4, H/8, W/8) fp32 on the device, scaled for the timestep.
        timestep: (R,) fp32, likewise.
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
        """All rows, one after the other; of the same kinds of conditions and the same size."""
        kinds = zip(*(part.conditions for part in parts), strict=True)
        return cls(
            torch.cat([part.sample for part in parts]),
            torch.cat([part.timestep for part in parts]),
            tuple(type(own[0]).joined(own) for own in kinds),
        )

    def call(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """The arguments of diffusers' UNet by name, on a device, the latents in a dtype."""
        # Kernels are chosen by layout too: of an encoded image it is the VAE's, until others join.
        call: dict[str, Any] = {
            "sample": self.sample.to(device, dtype).contiguous(),
            "timestep": self.timestep.to(device),
            "added_cond_kwargs": {},
        }
        for condition in self.conditions:
            condition.join(call)
        return call

    def chosen(self, places: Sequence[int]) -> Rows:
        """The rows at these places, in this order."""
        conditions = tuple(condition.chosen(places) for condition in self.conditions)
        return Rows(self.sample[places], self.timestep[places], conditions)

    def padded(self, size: int) -> Rows:
        """The rows, and some that no image is made of, up to `size` of them."""
        missing = size - len(self)
        if not missing:
            return self
        sample, timestep = self.sample, self.timestep
        return Rows(
            torch.cat([sample, sample.new_zeros(missing, *sample.shape[1:])]),
            torch.cat([timestep, timestep.new_zeros(missing)]),
            tuple(condition.padded(missing) for condition in self.conditions),
        )

    def each(self) -> Iterator[Rows]:
        """One after the other."""
        for place in range(len(self)):
            yield self.chosen([place])

    def kinds(self) -> dict[Hashable, list[int]]:
        """What kernels are chosen by, beside the number of rows -> places of those rows."""
        latents = (self.sample.shape[1:], self.sample.dtype)
        kinds: dict[Hashable, list[int]] = {}
        for place in range(len(self)):
            kind = (latents, *(condition.shape(place) for condition in self.conditions))
            kinds.setdefault(kind, []).append(place)
        return kinds
