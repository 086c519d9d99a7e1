"""A model that is larger than the device: only the part that is at work lies there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .model import Model


@contextmanager
def offloaded(model: Model) -> Iterator[None]:
    """Within the block, a part of a model loaded with `offload` moves to the device when called.

    Text encoders and VAE make the UNet leave it, and the UNet makes the text encoders leave: SDXL
    needs 5.2 GB in fp16 instead of 7. Where a part lies makes no difference to the bits.
    """
    if not model.offload:
        yield
        return
    from accelerate import cpu_offload_with_hook

    parts = [*model.text_encoders, model.unet, model.vae]
    hooks: list[Any] = []
    for part in parts:
        _, hook = cpu_offload_with_hook(part, model.device, hooks[-1] if hooks else None)
        hooks.append(hook)
    # Prompts are encoded in the middle of a run too.
    hooks[0].hook.prev_module_hook = hooks[2]
    try:
        yield
    finally:
        # Weights that were moved in inference mode can only be moved back in it.
        with torch.inference_mode():
            for part, hook in zip(parts, hooks, strict=True):
                hook.remove()
                part.to("cpu")
