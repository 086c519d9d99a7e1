"""Which side of guidance a row is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .condition import Condition


@dataclass(frozen=True, eq=False)
class SideCondition(Condition):
    """Whether a row is what guidance leads away from.

    No model is trained with it; patches of a model ask for it.

    Attributes:
        is_negative: (R,) bool on the CPU.
    """

    is_negative: torch.Tensor

    def join(self, call: dict[str, Any]) -> None:
        """Beside what is embedded; diffusers' UNet looks past it."""
        call["added_cond_kwargs"]["is_negative"] = self.is_negative
