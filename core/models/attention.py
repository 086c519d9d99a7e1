"""Which implementation of attention a model's parts compute with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

#: Those of diffusers that call torch's own function.
_OF_TORCH = {"AttnProcessor2_0"}


def attention_of(unet: Any, vae: Any, text_encoders: Iterable[Any]) -> str:
    """The implementations by name: `sdpa` where all parts use torch's own function.

    Read off the parts and the process each time, since a program may replace them: of a part
    (`set_attn_processor`), or torch's function for all.
    """
    processors = {
        type(processor).__name__
        for part in (unet, vae)
        for processor in part.attn_processors.values()
    }
    names = {"sdpa" if name in _OF_TORCH else name for name in processors}
    names |= {str(encoder.config._attn_implementation) for encoder in text_encoders}
    function = torch.nn.functional.scaled_dot_product_attention
    if function is not torch._C._nn.scaled_dot_product_attention:
        names.add(f"{function.__module__}.{function.__qualname__}")
    # A library that takes the place of torch's flash attention.
    flash = getattr(torch.nn.attention, "current_flash_attention_impl", lambda: None)()
    return ", ".join(sorted(names | ({flash} if flash else set())))
