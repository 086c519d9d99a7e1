"""What all kinds of conditions have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch


@dataclass(frozen=True, eq=False)
class Condition(ABC):
    """Something that rows are conditioned on: tensors, each with as many rows.

    Rows of one call have the same kinds of conditions, each of the same shape. To add a kind is to
    write a subclass, and to give it to the rows of those images that have it.
    """

    @abstractmethod
    def join(self, call: dict[str, Any]) -> None:
        """Take part in a UNet call.

        Args:
            call: the arguments of diffusers' UNet by name, to be added to: `sample` and `timestep`
                are there, and an empty `added_cond_kwargs`.
        """

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All its tensors, in the order of its fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """The same with another tensor in the place of each."""
        return type(self)(*map(change, self.tensors()))

    @classmethod
    def joined(cls, conditions: Sequence[Self]) -> Self:
        """The rows of all, one after the other."""
        parts = zip(*(condition.tensors() for condition in conditions), strict=True)
        return cls(*(torch.cat(part) for part in parts))
