"""Layers whose results for a row do not depend on the rows beside it, nor on their number."""

from __future__ import annotations

from typing import Any

import torch


class RowLinear(torch.nn.Linear):
    """A linear layer over whole rows, (R, C), which takes each row alone on a CPU.

    A matrix is worked on in strips of some rows, and the last one, if shorter, by other code: a
    row's bits depend on their number and on its place. Beside the rest of a UNet call these layers
    are nothing.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, C) -> (R, D)."""
        if input.device.type != "cpu":
            return super().forward(input)
        if torch.compiler.is_compiling():  # each row would be compiled
            return _matrices(self, input[:, None])[:, 0]
        return torch.stack([super(RowLinear, self).forward(row) for row in input])


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
        weight = self.weight.flatten(1).expand(rows, -1, -1)
        result = torch.bmm(weight, input.flatten(2))
        if self.bias is not None:
            result += self.bias[:, None]
        return result.reshape(rows, -1, height, width)


class TokenLinear(torch.nn.Linear):
    """A linear layer over rows of tokens, (R, T, C): on a CPU each row is a matrix of its own.

    As one matrix of all tokens, a token's bits would depend on the part that it falls into when
    threads share the work.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, T, C) -> (R, T, D)."""
        if input.device.type != "cpu" or input.ndim < 3:
            return super().forward(input)
        return _matrices(self, input)


def _matrices(layer: torch.nn.Linear, input: torch.Tensor) -> torch.Tensor:
    """(R, T, C) -> (R, T, D), each row a matrix of its own."""
    weights = layer.weight.t().expand(len(input), -1, -1)
    if layer.bias is None:
        return torch.bmm(input, weights)
    return torch.baddbmm(layer.bias, input, weights)


def use_row_layers(unet: Any) -> None:
    """Make a UNet's layers those of this file; no weight is touched.

    Linear ones over whole rows are those of what is embedded once a row (timestep, pooled prompt,
    size) and of what its blocks make of that.
    """
    from diffusers.models.embeddings import TimestepEmbedding
    from diffusers.models.resnet import ResnetBlock2D

    whole: set[Any] = set()
    for module in unet.modules():
        if isinstance(module, TimestepEmbedding):
            whole |= {module.linear_1, module.linear_2}
        elif isinstance(module, ResnetBlock2D):
            whole.add(module.time_emb_proj)
    for module in unet.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = RowLinear if module in whole else TokenLinear
        elif type(module) is torch.nn.Conv2d and _is_of_points(module):
            module.__class__ = PointConv


def _is_of_points(module: torch.nn.Conv2d) -> bool:
    plain = (module.kernel_size, module.stride, module.padding) == ((1, 1), (1, 1), (0, 0))
    return plain and module.groups == 1
