"""The layer that attends to `Texts`: apart, since it can be written only where diffusers is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch.nn import functional

from .text_attention import Texts


class TextAttention(Attention):  # type: ignore[misc]
    """Diffusers' attention, which computes as its `AttnProcessor2_0` does also of `Texts`."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | Texts | None = None,
        *args: Any,
        **named: Any,
    ) -> torch.Tensor:
        """(R, T, C) -> (R, T, C)."""
        texts = encoder_hidden_states
        if not isinstance(texts, Texts):
            return torch.as_tensor(super().forward(hidden_states, texts, *args, **named))
        query = _heads(self.to_q(hidden_states), self.heads)
        one = len(texts.groups) == 1
        parts = [
            functional.scaled_dot_product_attention(
                query if one else query[places], _heads(key, self.heads), _heads(value, self.heads)
            )
            for places, (key, value) in zip(texts.groups, texts.pairs(self), strict=True)
        ]
        attended = parts[0] if one else torch.cat(parts)[texts.back]
        return torch.as_tensor(self.to_out[0](attended.transpose(1, 2).flatten(2)))


def understand_texts(attentions: Sequence[Any]) -> bool:
    """Have those that are diffusers' own understand `Texts`; whether all do as they are now.

    A program may replace what computes them at any time, also by what was there at first.

    Args:
        attentions: of `text_attentions`.
    """
    for attention in attentions:
        if type(attention) is Attention and _is_plain(attention):
            attention.__class__ = TextAttention
    return all(
        isinstance(each, TextAttention) and type(each.processor) is AttnProcessor2_0
        for each in attentions
    )


def _is_plain(attention: Attention) -> bool:
    """Whether it has nothing that other models' have, which is settled when it is made."""
    nothing = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    return (
        not any(getattr(attention, name, None) for name in nothing)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


def _heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(R, T, C) -> (R, heads, T, C / heads)."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)
