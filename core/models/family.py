"""Which model a file holds, by the names of its tensors."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UnsupportedModel
from .header import Header

_UNET = "model.diffusion_model."
_CLIP_L = "conditioner.embedders.0.transformer."
_CLIP_G = "conditioner.embedders.1.model."

#: Part of a name -> what has tensors of such names. The first that fits is told.
_OTHERS = {
    "conditioner.embedders.0.model.": "an SDXL refiner",
    "double_blocks.": "a Flux model",
    "joint_blocks.": "a Stable Diffusion 3 model",
    "cond_stage_model.transformer.": "a Stable Diffusion 1 model",
    "cond_stage_model.model.": "a Stable Diffusion 2 model",
    "control_model.": "a ControlNet",
    ".comfy_quant": "weights of ComfyUI's quantization",
    ".absmax": "weights of 4 or 8 bits with a table (bitsandbytes)",
    ".qweight": "weights of a few bits (SVDQuant, GPTQ or AWQ)",
    "lora_": "a LoRA",
    ".lora": "a LoRA",
    "edm_mean": "Playground 2.5, whose noise levels are not SDXL's",
    "edm_vpred.sigma_max": "CosXL, whose noise levels are not SDXL's",
}
#: Names of tensors within text encoders, whatever comes before them.
_ENCODERS = re.compile(r"text_model\.encoder\.layers|transformer\.resblocks|token_embedding")
_ADVICE = {
    "a LoRA": "Load an SDXL model, and apply the LoRA to it.",
    "a VAE alone": "Load an SDXL model, and give this one as its VAE.",
    "an SDXL UNet alone": "Load a checkpoint with its text encoders.",
}


def check_is_sdxl(path: Path, header: Header) -> None:
    """Check that a file holds an SDXL base model, or a fine-tune of it, in the original layout.

    Raises:
        UnsupportedModel: it holds something else; the message says what, as far as is known.
    """
    found = _other_family(header)
    if found:
        raise UnsupportedModel(
            "an SDXL checkpoint",
            f"{path}, which holds {found}",
            _ADVICE.get(found, "Use an SDXL base model or a fine-tune of it."),
        )


def _other_family(header: Header) -> str | None:
    """What the file holds, None for SDXL."""
    names, shapes = header.shapes.keys(), header.shapes

    def has(part: str) -> bool:
        return any(part in name for name in names)

    for part, family in _OTHERS.items():
        if has(part):
            return family
    if not has(_UNET + "input_blocks.0."):
        if has("down_blocks.0.resnets."):
            return "one part of a model in diffusers' layout (load its folder instead)"
        return "a VAE alone" if has("decoder.conv_in.") else "no model known here"
    if not has(_UNET + "label_emb."):
        return "a Stable Diffusion 1 or 2 model without text encoders"
    channels = shapes.get(_UNET + "input_blocks.0.0.weight", ())[1:2]
    if channels not in ((), (4,)):
        return f"a model for inpainting or editing, with {channels[0]} input channels"
    if has(_CLIP_L) and has(_CLIP_G):
        return None
    others = [name for name in names if not name.startswith(_UNET)]
    encoder = next((name for name in others if _ENCODERS.search(name)), None)
    return (
        "an SDXL UNet alone"
        if encoder is None
        else f"an SDXL UNet and text encoders under names not known here ({encoder})"
    )
