"""The built-in model in ComfyUI's own classes; imported in ComfyUI, where it also is a pack.

ComfyUI's own loader knows SDXL by its sizes, which the built-in model has not. All else about it is
ComfyUI's: the classes, names of weights, tokenizers, samplers, patches.
"""

# ruff: noqa: TID251 - it runs in ComfyUI

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import batch_sdxl
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import torch
from batch_sdxl.core.models.original_names import original_name
from safetensors.torch import load_file

FOLDER = Path(batch_sdxl.__file__).parent / "demo_model"
CPU = torch.device("cpu")

UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 48,
    "channel_mult": [1, 2, 2],
    "num_res_blocks": [1, 1, 1],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "num_head_channels": 32,
    "context_dim": 160,
    "adm_in_channels": 288,
    "num_classes": "sequential",
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "legacy": False,
    "use_temporal_attention": False,
    "dtype": torch.float32,
}
VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 2, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@contextmanager
def groups(number: int) -> Iterator[None]:
    """Within the block, norms are made of so many groups, where ComfyUI always has 32."""
    made = torch.nn.GroupNorm.__init__

    def make(self: Any, num_groups: int, *arguments: Any, **options: Any) -> None:
        made(self, number, *arguments, **options)

    torch.nn.GroupNorm.__init__ = make  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.GroupNorm.__init__ = made  # type: ignore[method-assign]


def weights(part: str, name: str = "model") -> dict[str, torch.Tensor]:
    found = load_file(FOLDER / part / f"{name}.safetensors")
    return {key: tensor.float() for key, tensor in found.items()}


def config(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / part / "config.json").read_text("utf-8"))
    return found


def make_model() -> Any:
    kind = comfy.supported_models.SDXL(UNET)
    kind.unet_config |= UNET
    with groups(16):
        model = kind.get_model({}, device=CPU)
    own = {
        f"{original_name(name.rpartition('.')[0], 1)}.{name.rpartition('.')[2]}": tensor
        for name, tensor in weights("unet", "diffusion_pytorch_model").items()
    }
    model.diffusion_model.load_state_dict(own)
    model.embedder = type(model.embedder)(config("unet")["addition_time_embed_dim"])
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


class Tokenizer(comfy.sdxl_clip.SDXLTokenizer):  # type: ignore[misc]
    """Those of the built-in model, which have a small vocabulary of their own."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        kinds = {"l": comfy.sd1_clip.SDTokenizer, "g": comfy.sdxl_clip.SDXLClipGTokenizer}
        for (key, kind), part in zip(kinds.items(), ("tokenizer", "tokenizer_2"), strict=True):
            own = kind(str(FOLDER / part), embedding_directory=embedding_directory)
            own.embedding_size = config("text_encoder" + "_2" * (key == "g"))["hidden_size"]
            setattr(self, f"clip_{key}", own)


def make_clip(embeddings: str | None = None) -> Any:
    parts = {"l": "text_encoder", "g": "text_encoder_2"}
    kept = (
        *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"),
        *("projection_dim", "hidden_act", "eos_token_id"),
    )
    options: dict[str, Any] = {
        f"clip_{key}_model_config": {name: config(part)[name] for name in kept}
        for key, part in parts.items()
    }
    # ComfyUI takes encoders of three layers and more: one in front that adds nothing.
    options["clip_l_model_config"]["num_hidden_layers"] += 1
    target = comfy.supported_models_base.ClipTarget(Tokenizer, comfy.sdxl_clip.SDXLClipModel)
    clip = comfy.sd.CLIP(
        target, embedding_directory=embeddings, model_options=options | {"dtype": torch.float32}
    )
    for key, part in parts.items():
        encoder = getattr(clip.cond_stage_model, f"clip_{key}")
        tokenizer = getattr(clip.tokenizer, f"clip_{key}")
        encoder.special_tokens = {
            "start": tokenizer.start_token,
            "end": tokenizer.end_token,
            "pad": tokenizer.pad_token,
        }
        if key == "l":  # whose pooled text is used by no one
            width = config(part)["hidden_size"]
            comfy.utils.set_attr_param(
                encoder.transformer, "text_projection.weight", torch.eye(width)
            )
            for tensor in encoder.transformer.text_model.encoder.layers[0].parameters():
                tensor.zero_()
        for name, tensor in weights(part).items():
            inner = name.startswith(("text_model.", "text_projection."))
            own = name if inner else f"text_model.{name}"
            if key == "l":
                own = re.sub(r"layers\.(\d+)", lambda found: f"layers.{int(found[1]) + 1}", own)
            if not own.endswith("position_ids"):
                comfy.utils.set_attr_param(encoder.transformer, own, tensor)
    return clip


def make_vae() -> Any:
    found = weights("vae", "diffusion_pytorch_model")
    for side in ("encoder", "decoder"):  # attention that adds nothing
        for name in ("to_q", "to_k", "to_v", "to_out.0", "group_norm"):
            start = f"{side}.mid_block.attentions.0.{name}"
            norm = name == "group_norm"
            found[f"{start}.weight"] = torch.zeros(64) if norm else torch.zeros(64, 64)
            found[f"{start}.bias"] = torch.zeros(64)
    with groups(4):
        return comfy.sd.VAE(found, config={"params": {"ddconfig": VAE, "embed_dim": 4}})


class DemoParts:
    """What Load Checkpoint would give of it."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "run"
    CATEGORY = "test"
    made: Any = None

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"ckpt_name": ("STRING", {"default": "demo.safetensors"})}}

    def run(self, ckpt_name: str) -> Any:
        if DemoParts.made is None:
            with torch.inference_mode(False):
                DemoParts.made = make_model(), make_clip(), make_vae()
        return DemoParts.made


NODE_CLASS_MAPPINGS = {"DemoParts": DemoParts}
