"""Linear layers whose results for a row do not depend on the rows beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: Rows come in multiples of it; beside the rest of a UNet call they are nothing.
FEW = 32


class RowLinear(torch.nn.Linear):
    """A linear layer over whole rows, (R, C), which a CPU gives a multiple of `FEW` of them.

    With few rows, matrix multiplication on a CPU takes another path for one number than for
    another: on some machines 4 and 8 rows differ.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, C) -> (R, D)."""
        if input.device.type != "cpu":
            return super().forward(input)
        count = len(input)
        return super().forward(torch.nn.functional.pad(input, (0, 0, 0, -count % FEW)))[:count]


class TokenLinear(torch.nn.Linear):
    """A linear layer over rows of tokens, (R, T, C), which can be told to take each row alone.

    All tokens of a call are one matrix, which threads part among them. On some machines a token's
    bits depend on which part it falls into, and so on its row's place. A row alone is always a
    matrix of the same shape.
    """

    #: Whether rows are taken one by one, of all such layers: what `each_row_alone` says.
    alone = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(R, T, C) -> (R, T, D)."""
        if not TokenLinear.alone or input.ndim < 3:
            return super().forward(input)
        return torch.stack([super(TokenLinear, self).forward(row) for row in input])


@contextmanager
def each_row_alone(alone: bool) -> Iterator[None]:
    """Within the block, `TokenLinear`s take each row alone, or do not; in `pinning.pinned` only."""
    before, TokenLinear.alone = TokenLinear.alone, alone
    try:
        yield
    finally:
        TokenLinear.alone = before


def use_row_linears(unet: Any) -> None:
    """Make a UNet's linear layers `RowLinear`s and `TokenLinear`s; no weight is touched.

    Those over whole rows are the layers of what is embedded once a row (timestep, pooled prompt,
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
