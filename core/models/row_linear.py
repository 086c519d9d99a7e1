"""Linear layers whose results for a row do not depend on how many rows there are."""

from __future__ import annotations

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


def use_row_linears(unet: Any) -> None:
    """Make a UNet's linear layers over whole rows `RowLinear`s; no weight is touched.

    Those are the layers of what is embedded once a row (timestep, pooled prompt, size) and of what
    its blocks make of that. All others take tokens or pixels, thousands of them.
    """
    from diffusers.models.embeddings import TimestepEmbedding
    from diffusers.models.resnet import ResnetBlock2D

    for module in unet.modules():
        if isinstance(module, TimestepEmbedding):
            layers = [module.linear_1, module.linear_2]
        elif isinstance(module, ResnetBlock2D):
            layers = [module.time_emb_proj]
        else:
            continue
        for layer in layers:
            if type(layer) is torch.nn.Linear:
                layer.__class__ = RowLinear
