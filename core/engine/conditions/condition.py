"""What all kinds of conditions have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch


@dataclass(frozen=True, eq=False)
class Condition(ABC):
    """Something that rows are conditioned on: tensors, each with as many rows.

    Rows of one call have the same kinds of conditions. To add a kind is to write a subclass, and to
    give it to the rows of those images that have it.
    """

    @abstractmethod
    def join(self, call: dict[str, Any]) -> None:
        """Take part in a UNet call.

        Args:
            call: the arguments of diffusers' UNet by name, to be added to: `sample` and `timestep`
                are there, and an empty `added_cond_kwargs`.
        """

    @property
    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def chosen(self, places: Sequence[int]) -> Self:
        """The rows at these places, in this order."""
        return type(self)(*(tensor[list(places)] for tensor in self._tensors))

    def padded(self, missing: int) -> Self:
        """With so many rows more, that no image is made of: zeros."""
        return type(self)(
            *(torch.cat([t, t.new_zeros(missing, *t.shape[1:])]) for t in self._tensors)
        )

    def shape(self, place: int) -> Hashable:
        """What kernels are chosen by for a row, beside the number of rows."""
        return tuple((tensor[place].shape, tensor.dtype) for tensor in self._tensors)

    @classmethod
    def joined(cls, conditions: Sequence[Self]) -> Self:
        """The rows of all, one after the other."""
        parts = zip(*(condition._tensors for condition in conditions), strict=True)
        return cls(*(torch.cat(part) for part in parts))
