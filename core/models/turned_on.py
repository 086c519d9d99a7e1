"""What a program can turn on in a model's parts, of which neither files nor numerics tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import UnsupportedModel
from .model import Model

#: Names of diffusers' hooks that say where weights lie, which changes no bit.
_OF_PLACE = {"group_offloading", "lazy_prefetch_group_offloading", "layer_execution_tracker"}


def check_as_loaded(model: Model) -> None:
    """See that its parts compute what they were loaded for.

    How they compute attention is read off instead (`attention.py`), and whether the VAE works in
    tiles is set for each of its calls (`vae.py`). Weights are not looked at.

    Raises:
        UnsupportedModel: a program has turned on something else.
    """
    parts = {"UNet": model.unet, "VAE": model.vae}
    parts |= zip(("first text encoder", "second text encoder"), model.text_encoders, strict=True)
    for name, part in parts.items():
        for found in _turned_on(part):
            raise UnsupportedModel(
                f"a {name} as it was loaded",
                f"one with {found}",
                "Turn that off, or load the model anew: its images would have the identity of "
                "those without.",
            )


def _turned_on(part: Any) -> Iterator[str]:
    for module in part.modules():
        own = vars(module)
        if all(own.get(factor) for factor in ("s1", "s2", "b1", "b2")):
            yield "FreeU (enable_freeu)"
        if own.get("_chunk_size"):
            yield "a feed-forward in chunks (set_chunk_feed_forward)"
        if own.get("peft_config"):
            yield f"adapters of PEFT ({', '.join(own['peft_config'])})"
        hooks = own["_diffusers_hook"].hooks.keys() if "_diffusers_hook" in own else set()
        if others := sorted(hooks - _OF_PLACE):
            yield f"hooks of diffusers ({', '.join(others)})"
