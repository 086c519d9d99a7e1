"""Guidance by functions that nodes have put in its place, or after it."""

from __future__ import annotations

import uuid
from typing import Any

import torch

#: ComfyUI's: what rows of a call are conditioned on, in one entry.
Conditions = list[dict[str, Any]]


def conditions(embeds: torch.Tensor, vectors: torch.Tensor) -> Conditions:
    """One row's, as such functions are given them.

    Args:
        embeds: (T, C).
        vectors: (D,).
    """
    import comfy.conds

    own = {
        "c_crossattn": comfy.conds.CONDCrossAttn(embeds[None]),
        "y": comfy.conds.CONDRegular(vectors[None]),
    }
    return [{"model_conds": own, "cross_attn": embeds[None], "uuid": uuid.uuid4()}]


def guidance(
    base: Any,
    options: dict[str, Any],
    rows: list[Conditions],
    guesses: list[torch.Tensor],
    noisy: torch.Tensor,
    sigma: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """The guess of the image that its step goes by, as ComfyUI's own samplers come to it.

    Args:
        base: ComfyUI's model, on the device.
        options: of its ModelPatcher.
        rows: of one image: the prompt's, after the negative prompt's if guided.
        guesses: of the image without noise, for each row (1, 4, h, w).
        noisy: (1, 4, h, w).
        sigma: (1,), of the noise.
        scale: of guidance.
    """
    import comfy.samplers

    conds = [rows[-1], rows[0] if len(rows) == 2 else None]
    outputs = [guesses[-1], guesses[0] if len(rows) == 2 else torch.zeros_like(noisy)]
    for change in options.get("sampler_pre_cfg_function", []):
        given = {
            "conds": conds,
            "conds_out": outputs,
            "cond_scale": scale,
            "timestep": sigma,
            "input": noisy,
            "sigma": sigma,
            "model": base,
            "model_options": options,
        }
        outputs = change(given)
    return torch.as_tensor(
        comfy.samplers.cfg_function(
            base,
            *outputs,
            scale,
            noisy,
            sigma,
            model_options=options,
            cond=conds[0],
            uncond=conds[1],
        )
    )
