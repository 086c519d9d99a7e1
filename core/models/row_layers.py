"""Layers whose results for a row do not depend on the rows beside it, nor on their number."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.compiler import is_compiling
from torch.nn import functional

#: Numbers that torch works on at once with the widest registers (`vectorized_loop` in
#: ATen/native/cpu/Loops.h).
_AT_ONCE = 32
#: From so many products for a row on, a layer is left to oneDNN, if torch has that.
_MUCH = 2**24 if torch.backends.mkldnn.is_available() else math.inf  # type: ignore[no-untyped-call]


class RowLinear(torch.nn.Linear):
    """A linear layer over rows, (R, C), or rows of tokens, (R, T, C).

    On a CPU torch has MKL take a matrix of all rows or tokens in strips, and share it out to
    threads in parts: the bits of a row depend on the strip and the part that it falls into. With a
    matrix for each row they do not, nor with oneDNN, which adds up each number in the same order
    wherever it is: up to half as fast again where there is much to do, but long to start.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, ..., C) -> (R, ..., D), of two or three dimensions."""
        if input.device.type != "cpu" or input.ndim not in (2, 3):
            return super().forward(input)
        if self._is_for_onednn(input):
            linear: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
                input, self.weight, self.bias, "none", [], ""
            )
            return linear
        rows = input if input.ndim == 3 else input[:, None]
        weights = self.weight.t().expand(len(rows), -1, -1)
        if self.bias is None:
            result = torch.bmm(rows, weights)
        else:
            result = torch.baddbmm(self.bias, rows, weights)
        return result.view(*input.shape[:-1], -1)

    def _is_for_onednn(self, input: torch.Tensor) -> bool:
        is_much = input.shape[1:].numel() * self.out_features >= _MUCH
        is_plain = input.dtype == self.weight.dtype == torch.float32
        # Of that call nobody can compute gradients, nor do the compiler and autocast know it.
        is_other = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or is_compiling()
        return is_much and is_plain and not is_other

    def by_channel(self, input: torch.Tensor) -> torch.Tensor:
        """As `forward`, but a line for each channel: (R, T, C) -> (R, D, T)."""
        if input.device.type != "cpu":
            return super().forward(input).transpose(1, 2).contiguous()
        return _by_channel(self, self.weight, input.transpose(1, 2))


class PointConv(torch.nn.Conv2d):
    """A convolution of single pixels, (R, C, H, W), which is a matrix product for each row.

    On a CPU torch takes another library for these from 16 rows on, if it has one thread
    (`use_mkldnn` in ATen/native/Convolution.cpp).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, C, H, W) -> (R, D, H, W)."""
        if input.device.type != "cpu":
            return super().forward(input)
        rows, _, height, width = input.shape
        result = _by_channel(self, self.weight.flatten(1), input.flatten(2))
        return result.view(rows, -1, height, width)


def _by_channel(
    layer: torch.nn.Linear | torch.nn.Conv2d, weight: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """(D, C) times (R, C, P), with the layer's bias -> (R, D, P)."""
    result = torch.bmm(weight.expand(len(points), -1, -1), points)
    if layer.bias is not None:
        result += layer.bias[:, None]
    return result


class RowSiLU(torch.nn.SiLU):
    """`row_silu`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Of any shape."""
        return row_silu(input)


def row_silu(input: torch.Tensor) -> torch.Tensor:
    """SiLU of any shape, as `_whole` has it."""
    return _whole(functional.silu, input, _silu_parts)


def row_silu_(input: torch.Tensor) -> torch.Tensor:
    """The same; it may be written over what came."""
    return _whole(_silu_, input, _silu_parts)


def _silu_(input: torch.Tensor) -> torch.Tensor:
    return functional.silu(input, inplace=True)


def row_gelu(gate: torch.Tensor) -> torch.Tensor:
    """GELU of any shape, as `_whole` has it."""
    return _whole(functional.gelu, gate, _gelu_parts)


def _whole(
    activation: Callable[[torch.Tensor], torch.Tensor],
    input: torch.Tensor,
    parts: Callable[[int, int], int],
) -> torch.Tensor:
    """An activation of which no number is left over on a CPU.

    Torch takes what is left at the end of a thread's part one by one, which gives some numbers
    other bits: so few that a trial may meet none of them. Where parts end depends on the rows.

    Args:
        activation: that works on each number alone.
        input: of any shape.
        parts: of so many numbers and threads, how many there are.
    """
    if input.device.type != "cpu" or is_compiling():
        return activation(input)
    count = input.numel()
    # As they lie in memory.
    last = input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last)
    lines = input.permute(0, 2, 3, 1) if last else input
    width = lines.shape[-1]
    # Lines that are apart are worked on one by one, which gives other bits again.
    apart = not lines.is_contiguous() and width % _AT_ONCE == 0
    needed = _without_rest(count, torch.get_num_threads(), parts, width if apart else _AT_ONCE)
    if needed == count and (apart or lines.is_contiguous()):
        return activation(input)
    if apart:
        filled = lines.new_zeros(needed // width, 2 * width)[:, :width]
        filled[: count // width] = lines.flatten(0, -2)
        result = activation(filled)[: count // width].view(lines.shape)
    else:
        filled = functional.pad(lines.flatten(), (0, needed - count))
        result = activation(filled)[:count].view(lines.shape)
    return result.permute(0, 3, 1, 2) if last else result


@cache
def _without_rest(count: int, threads: int, parts: Callable[[int, int], int], step: int) -> int:
    """So many numbers or a few steps more, of which no part leaves any over."""
    while count % _AT_ONCE or -(-count // parts(count, threads)) % _AT_ONCE:
        count += step - count % step
    return count


def _silu_parts(count: int, threads: int) -> int:
    """As `at::internal::GRAIN_SIZE` has it."""
    return min(threads, -(-count // 2**15))


def _gelu_parts(count: int, threads: int) -> int:
    """As `GeluKernelImpl` in ATen/native/cpu/Activation.cpp has it."""
    return threads if count > 2**14 else 1


def use_row_layers(unet: Any) -> None:
    """Make a UNet's layers those of this file; no weight is touched."""
    for module in unet.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = RowLinear
        elif type(module) is torch.nn.Conv2d and _is_of_points(module):
            module.__class__ = PointConv
        elif type(module) is torch.nn.SiLU and not module.inplace:
            module.__class__ = RowSiLU


def _is_of_points(module: torch.nn.Conv2d) -> bool:
    plain = (module.kernel_size, module.stride, module.padding) == ((1, 1), (1, 1), (0, 0))
    return plain and module.groups == 1
