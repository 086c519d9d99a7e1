"""Conditioned on sizes (arXiv:2307.01952, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .condition import Condition


@dataclass(frozen=True, eq=False)
class SizeCondition(Condition):
    """The sizes that an image claims to have.

    Attributes:
        time_ids: (R, 6) fp32, in pixels: original height and width, crop top and left, target
            height and width.
    """

    time_ids: torch.Tensor

    def join(self, call: dict[str, Any]) -> None:
        """Embedded beside the timestep, like which SDXL was trained with them."""
        sample = call["sample"]
        call["added_cond_kwargs"]["time_ids"] = self.time_ids.to(sample.device, sample.dtype)
