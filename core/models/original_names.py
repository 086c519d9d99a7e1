"""diffusers' names of the UNet's parts -> those of SDXL's original code.

Checkpoints in one file and most LoRAs use the original ones. Numbering: the input blocks are the
first convolution, then for each level its residual blocks and a downsampler; the output blocks are
each level's residual blocks, the last of a level with an upsampler.

Source: https://github.com/Stability-AI/generative-models, sgm/modules/diffusionmodules/
openaimodel.py, class UNetModel.
"""

from __future__ import annotations

import re

_FIXED = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)")


def original_name(name: str, layers_per_block: int = 2) -> str:
    """The original name of a module or parameter of the UNet, without `model.diffusion_model.`.

    Args:
        name: that diffusers' UNet2DConditionModel gives it.
        layers_per_block: of the UNet; 2 in SDXL.
    """
    for ours, theirs in _FIXED.items():
        if name == ours or name.startswith(ours + "."):
            return theirs + _inside(name[len(ours) :])
    match = _BLOCK.match(name)
    assert match, f"no part of an SDXL UNet: {name}"
    direction, level, kind, layer = match[1], int(match[2]), match[3], int(match[4])
    rest = _inside(name[match.end() :])
    if direction == "up":
        # The last level with attention has its upsampler behind it, at place 2.
        block = level * (layers_per_block + 1) + (
            layers_per_block if kind == "upsamplers" else layer
        )
        place = {"resnets": 0, "attentions": 1, "upsamplers": 2}[kind]
        return f"output_blocks.{block}.{place}{rest}"
    block = 1 + level * (layers_per_block + 1)
    if kind == "downsamplers":
        return f"input_blocks.{block + layers_per_block}.0{rest.replace('.conv', '.op', 1)}"
    return f"input_blocks.{block + layer}.{int(kind == 'attentions')}{rest}"


def _inside(rest: str) -> str:
    """The part of a name within its block: `.conv1.weight` -> `.in_layers.2.weight`."""
    part, dot, tail = rest[1:].partition(".")
    return f".{_IN_RESNET[part]}{dot}{tail}" if part in _IN_RESNET else rest
