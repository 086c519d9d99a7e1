"""Diffusers' blocks with nothing but what SDXL's compute, to the same bits.

What goes: checks of what is settled when a model is made, dropouts, divisions by one, copies
between layouts, new memory for results that can be written over others. Where a call asks for more,
gradients are recorded or a program looks into a block, diffusers' own code runs. Apart from the
layers, since blocks can be written only where diffusers is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from diffusers.models import activations, attention, attention_processor, resnet
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers import transformer_2d
from torch.nn import Dropout, GroupNorm, SiLU, functional

from .row_layers import RowLinear, row_gelu, row_silu, row_silu_
from .text_attention import Texts, in_heads


class ResnetBlock2D(resnet.ResnetBlock2D):  # type: ignore[misc]
    """Two convolutions, with the step's embedding between them if there is one."""

    def forward(
        self, input_tensor: torch.Tensor, temb: torch.Tensor | None, *args: Any, **named: Any
    ) -> torch.Tensor:
        """(R, C, H, W) and (R, E) or None -> (R, D, H, W)."""
        other = args or named or (temb is None) != (self.time_emb_proj is None)
        if other or asks_more(self) or not self._is_as_made:
            return torch.as_tensor(super().forward(input_tensor, temb, *args, **named))
        hidden = self.conv1(row_silu_(self.norm1(input_tensor)))
        if temb is not None:
            hidden += self.time_emb_proj(row_silu(temb))[:, :, None, None]
        hidden = self.conv2(row_silu_(self.norm2(hidden)))
        if self.conv_shortcut is not None:
            input_tensor = self.conv_shortcut(input_tensor)
        return torch.as_tensor(hidden.add_(input_tensor))

    @property
    def _is_as_made(self) -> bool:
        kinds = isinstance(self.norm1, GroupNorm) and isinstance(self.nonlinearity, SiLU)
        return kinds and are_bare(self._modules.values())


class Attention(attention_processor.Attention):  # type: ignore[misc]
    """What `AttnProcessor2_0` computes, also of `Texts`."""

    @property
    def is_as_made(self) -> bool:
        """Whether no program has had it computed in another way."""
        return type(self.processor) is AttnProcessor2_0

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | Texts | None = None,
        *args: Any,
        **named: Any,
    ) -> torch.Tensor:
        """(R, T, C) and what it attends to, itself if None -> (R, T, C)."""
        texts = encoder_hidden_states
        if isinstance(texts, Texts):
            return self._of_texts(hidden_states, texts)
        if args or named or not self.is_as_made or asks_more(self):
            result = super().forward(hidden_states, texts, *args, **named)
            return torch.as_tensor(result)
        attended_to = hidden_states if texts is None else texts
        key = in_heads(self.to_k(attended_to), self.heads)
        value = in_heads(self.to_v(attended_to), self.heads)
        query = in_heads(self.to_q(hidden_states), self.heads)
        return self._out(functional.scaled_dot_product_attention(query, key, value))

    def _of_texts(self, hidden_states: torch.Tensor, texts: Texts) -> torch.Tensor:
        query = in_heads(self.to_q(hidden_states), self.heads)
        if len(texts.groups) == 1:
            ((key, value),) = texts.pairs(self)
            return self._out(functional.scaled_dot_product_attention(query, key, value))
        parts = [
            functional.scaled_dot_product_attention(query[places], key, value)
            for places, (key, value) in zip(texts.groups, texts.pairs(self), strict=True)
        ]
        return self._out(torch.cat(parts)[texts.back])

    def _out(self, attended: torch.Tensor) -> torch.Tensor:
        out, dropout = parts = self.to_out._modules.values()
        tokens = out(attended.transpose(1, 2).flatten(2))
        return torch.as_tensor(tokens if are_bare(parts) else dropout(tokens).clone())


class FeedForward(attention.FeedForward):  # type: ignore[misc]
    """Two layers with a gate between them."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        """(R, T, C) -> (R, T, C)."""
        other = args or named or not are_bare(self.net._modules.values())
        if other or asks_more(self):
            return torch.as_tensor(super().forward(hidden_states, *args, **named))
        return torch.as_tensor(self.net[2](self.net[0](hidden_states)))


class GEGLU(activations.GEGLU):  # type: ignore[misc]
    """One half, times the GELU of the other."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        """(R, T, C) -> (R, T, D)."""
        if args or named or asks_more(self):
            return torch.as_tensor(super().forward(hidden_states, *args, **named))
        values, gate = self.proj(hidden_states).chunk(2, dim=-1)
        return row_gelu(gate).mul_(values)


class BasicTransformerBlock(attention.BasicTransformerBlock):  # type: ignore[misc]
    """Attention within the image, attention to the prompt, feed-forward."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | Texts | None = None,
        *args: Any,
        **named: Any,
    ) -> torch.Tensor:
        """(R, T, C) and the prompts -> (R, T, C)."""
        other = attention_mask is not None or args or _any(named) or self._chunk_size is not None
        if other or asks_more(self) or not self._is_as_made:
            given = (hidden_states, attention_mask, encoder_hidden_states, *args)
            return torch.as_tensor(super().forward(*given, **named))
        hidden = self.attn1(self.norm1(hidden_states)).add_(hidden_states)
        hidden = self.attn2(self.norm2(hidden), encoder_hidden_states).add_(hidden)
        return torch.as_tensor(self.ff(self.norm3(hidden)).add_(hidden))

    @property
    def _is_as_made(self) -> bool:
        return (
            are_as_made((self.attn1, self.attn2))
            and isinstance(self.ff, FeedForward)
            and are_bare(self._modules.values())
            and are_bare(self.ff.net._modules.values())
        )


class Transformer2DModel(transformer_2d.Transformer2DModel):  # type: ignore[misc]
    """Pixels as tokens, through blocks, and back."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | Texts | None = None,
        *args: Any,
        return_dict: bool = True,
        **named: Any,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """(R, C, H, W) and the prompts -> (R, C, H, W)."""
        other = args or _any(named) or not isinstance(self.proj_out, RowLinear)
        if other or asks_more(self) or not are_bare([self.proj_out]):
            named.update(encoder_hidden_states=encoder_hidden_states, return_dict=return_dict)
            return super().forward(hidden_states, *args, **named)
        tokens = self.proj_in(self.norm(hidden_states).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, encoder_hidden_states=encoder_hidden_states)
        output = self.proj_out.by_channel(tokens).view(hidden_states.shape).add_(hidden_states)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)


def _any(named: Mapping[str, Any]) -> bool:
    return any(value is not None for value in named.values())


def asks_more(block: Any) -> bool:
    """Whether there are gradients to record, dropouts to make or a dtype to choose."""
    more = block.training or torch.is_grad_enabled()
    return more or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


def are_bare(parts: Iterable[Any]) -> bool:
    """Whether no program computes them in another way, or has what they return.

    Offloading, caches and adapters of diffusers and others do, by hooks or a `forward` of a
    module's own. Asked of all parts in each call, so no walk through modules.
    """
    for part in parts:
        own = part.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
            return False
    return True


def use_plain_blocks(part: Any) -> None:
    """Make blocks of a UNet or VAE those of this file where they compute nothing else.

    Args:
        part: whose layers are those of `row_layers`, if it has transformers.
    """
    for module in part.modules():
        module.__class__ = _kind(module)


def are_as_made(attentions: Sequence[Any]) -> bool:
    """Whether all understand `Texts`, and none is computed in another way now.

    Args:
        attentions: of `text_attentions`.
    """
    return all(isinstance(each, Attention) and each.is_as_made for each in attentions)


def _is_plain_resnet(resnet: Any) -> bool:
    return (
        (resnet.upsample, resnet.downsample) == (None, None)
        and isinstance(resnet.nonlinearity, SiLU)
        and (resnet.time_embedding_norm == "default" or resnet.time_emb_proj is None)
        and not resnet.skip_time_act
        and resnet.output_scale_factor == 1
    )


def _is_plain_attention(attention: Any) -> bool:
    nothing = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    return (
        not any(getattr(attention, name, None) for name in nothing)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


def _is_plain_feed_forward(feed_forward: Any) -> bool:
    return [_kind(layer) for layer in feed_forward.net] == [GEGLU, Dropout, RowLinear]


def _is_plain_block(block: Any) -> bool:
    parts = (block.attn1, block.attn2, block.ff)
    return (
        block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not hasattr(block, "fuser")
        and not block.only_cross_attention
        and [_kind(part) for part in parts] == [Attention, Attention, FeedForward]
    )


def _is_plain_transformer(transformer: Any) -> bool:
    return (
        transformer.is_input_continuous
        and isinstance(transformer.proj_out, RowLinear)
        and all(_kind(block) is BasicTransformerBlock for block in transformer.transformer_blocks)
    )


def _kind(module: Any) -> type:
    """What it is, or becomes: a block comes before its parts."""
    kind = type(module)
    plain, is_plain = _PLAIN.get(kind, (kind, lambda _: True))
    return plain if is_plain(module) else kind


#: Diffusers' -> ours, and whether one of theirs is of that kind.
_PLAIN: Mapping[type, tuple[type, Callable[[Any], bool]]] = {
    resnet.ResnetBlock2D: (ResnetBlock2D, _is_plain_resnet),
    attention_processor.Attention: (Attention, _is_plain_attention),
    activations.GEGLU: (GEGLU, lambda gate: True),
    attention.FeedForward: (FeedForward, _is_plain_feed_forward),
    attention.BasicTransformerBlock: (BasicTransformerBlock, _is_plain_block),
    transformer_2d.Transformer2DModel: (Transformer2DModel, _is_plain_transformer),
}
