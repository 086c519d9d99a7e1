"""Conditioned on a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .condition import Condition


@dataclass(frozen=True, eq=False)
class TextCondition(Condition):
    """A prompt as the text encoders understand it, in the model's dtype on its device.

    Attributes:
        prompt_embeds: (R, 77 N, C).
        pooled_prompt_embeds: (R, P).
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor

    def join(self, call: dict[str, Any]) -> None:
        """Tokens are attended to; the pooled text is embedded beside the timestep."""
        call["encoder_hidden_states"] = self.prompt_embeds
        call["added_cond_kwargs"]["text_embeds"] = self.pooled_prompt_embeds
