"""Diffusers' upsampling, in fewer products."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import upsampling
from torch.compiler import is_compiling

from .blocks import are_bare, asks_more

#: Place among the two that a pixel becomes -> lines of a filter that meet what was the pixel before
#: (or the same) and what was the same (or the one after).
_LINES = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)


class Upsample2D(upsampling.Upsample2D):  # type: ignore[misc]
    """Each pixel becomes four, then a convolution."""

    _made: UpsampledConv | None = None

    def forward(
        self, hidden_states: torch.Tensor, output_size: Any = None, *args: Any, **named: Any
    ) -> torch.Tensor:
        """(R, C, H, W) -> (R, D, 2 H, 2 W), or as large as asked for."""
        other = output_size is not None or args or named or asks_more(self)
        if other or not self._is_as_made or not self._is_worth(hidden_states):
            return torch.as_tensor(super().forward(hidden_states, output_size, *args, **named))
        made = self._made  # which another thread may change
        if made is None or not made.is_of(self.conv):
            made = self._made = UpsampledConv(self.conv)
        return made(hidden_states, self.conv.bias)

    @property
    def _is_as_made(self) -> bool:
        return _is_plain(self) and are_bare([self.conv])

    def _is_worth(self, hidden_states: torch.Tensor) -> bool:
        """Whether it saves time, and sums of weights are not rounded to half precision."""
        is_fp32 = hidden_states.dtype == self.conv.weight.dtype == torch.float32
        return is_fp32 and hidden_states.device.type == "cpu" and not is_compiling()


class UpsampledConv:
    """A 3 x 3 convolution after each pixel became four, computed of the pixels before.

    Each of the four meets 2 x 2 of them, so weights that meet the same one are added up first
    (arXiv:1707.02937, section 3.2): 4/9 of the products, and other roundings. One convolution
    computes all four. A transposed one would do so in one step, but its bits depend on the rows.
    """

    def __init__(self, conv: torch.nn.Conv2d) -> None:
        """Add up its weights as they are now."""
        weight = conv.weight
        self._seen = _seen(weight)
        sums = torch.einsum("pax,qby,dcxy->pqdcab", _LINES, _LINES, weight.double())
        layout = _layout(weight)
        self._weight = sums.flatten(0, 2).to(weight.dtype).contiguous(memory_format=layout)

    def is_of(self, conv: torch.nn.Conv2d) -> bool:
        """Whether its weights are still those."""
        return self._seen == _seen(conv.weight)

    def __call__(self, input: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """(R, C, H, W) and (D,) or None -> (R, D, 2 H, 2 W)."""
        rows, _, height, width = input.shape
        biases = None if bias is None else bias.repeat(4)
        found = torch.nn.functional.conv2d(input, self._weight, biases, padding=1)
        channels = found.shape[1] // 4
        parts = found.view(rows, 2, 2, channels, height + 1, width + 1)
        shape = (rows, channels, 2 * height, 2 * width)
        result = torch.empty(
            shape, dtype=found.dtype, device=found.device, memory_format=_layout(found)
        )
        for down in (0, 1):
            for right in (0, 1):
                part = parts[:, down, right, :, down : down + height, right : right + width]
                result[:, :, down::2, right::2] = part
        return result


def use_summed_upsampling(part: Any) -> None:
    """Make a UNet's or VAE's upsampling that of this file; no weight is touched."""
    for module in part.modules():
        if type(module) is upsampling.Upsample2D and _is_plain(module):
            module.__class__ = Upsample2D


def _is_plain(upsampling: Any) -> bool:
    """Whether it is nearest pixels and a convolution of this kind, and no more."""
    kinds = (upsampling.interpolate, upsampling.norm, upsampling.name)
    if kinds != (True, None, "conv") or type(upsampling.conv) is not torch.nn.Conv2d:
        return False
    conv = upsampling.conv
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    plain = shape == ((3, 3), (1, 1), (1, 1), (1, 1)) and conv.groups == 1
    # As programs have images that can be tiled.
    is_own = "_conv_forward" in vars(conv)
    return plain and conv.padding_mode == "zeros" and not is_own


def _seen(weight: torch.Tensor) -> tuple[int, int | None, float]:
    """What tells weights apart; the sum, since torch doesn't count what is done to `.data`."""
    version = None if weight.is_inference() else weight._version
    return weight.data_ptr(), version, weight.sum().item()


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
