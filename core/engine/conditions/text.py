"""Conditioned on a prompt."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .condition import Condition


@dataclass(frozen=True, eq=False)
class TextCondition(Condition):
    """A prompt as the text encoders understand it, in the model's dtype on its device.

    Attributes:
        prompt_embeds: (1, 77 N, C) for each row, whose N may differ where `Backend.mixes_lengths`.
        pooled_prompt_embeds: (R, P).
    """

    prompt_embeds: tuple[torch.Tensor, ...]
    pooled_prompt_embeds: torch.Tensor

    def chosen(self, places: Sequence[int]) -> TextCondition:
        """As `Condition.chosen`."""
        embeds = tuple(self.prompt_embeds[place] for place in places)
        return TextCondition(embeds, self.pooled_prompt_embeds[places])

    def padded(self, missing: int) -> TextCondition:
        """As `Condition.padded`; padding attends to the first row's prompt."""
        pooled = self.pooled_prompt_embeds
        return TextCondition(
            self.prompt_embeds + self.prompt_embeds[:1] * missing,
            torch.cat([pooled, pooled.new_zeros(missing, pooled.shape[1])]),
        )

    def longer(self) -> TextCondition:
        """With every prompt twice."""
        embeds = tuple(embeds.repeat(1, 2, 1) for embeds in self.prompt_embeds)
        return TextCondition(embeds, self.pooled_prompt_embeds)

    def shape(self, place: int) -> Hashable:
        """As `Condition.shape`."""
        both = (self.prompt_embeds[place], self.pooled_prompt_embeds[place])
        return tuple((tensor.shape, tensor.dtype) for tensor in both)

    @classmethod
    def joined(cls, conditions: Sequence[TextCondition]) -> TextCondition:
        """As `Condition.joined`."""
        return cls(
            tuple(embeds for condition in conditions for embeds in condition.prompt_embeds),
            torch.cat([condition.pooled_prompt_embeds for condition in conditions]),
        )

    def join(self, call: dict[str, Any]) -> None:
        """Tokens are attended to, row by row; the pooled text is embedded beside the timestep."""
        call["encoder_hidden_states"] = self.prompt_embeds
        call["added_cond_kwargs"]["text_embeds"] = self.pooled_prompt_embeds
