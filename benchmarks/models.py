"""Models to measure with: the built-in one, and SDXL of several sizes with random weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.models import sdxl_config


class Size(NamedTuple):
    """A model's configurations, as diffusers and transformers take them."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    text_encoder_2: dict[str, Any]


_MID_UNET = sdxl_config.UNET | {
    "sample_size": 32,
    "block_out_channels": (128, 256, 512),
    "transformer_layers_per_block": (1, 1, 3),
    "attention_head_dim": (2, 4, 8),
    "cross_attention_dim": 512,
    "projection_class_embeddings_input_dim": 6 * 256 + 256,
}
_MID_TEXT = {"hidden_size": 256, "intermediate_size": 1024, "projection_dim": 256}
_MID_DEPTH = {"num_hidden_layers": 4, "num_attention_heads": 4}

_TINY_UNET = sdxl_config.UNET | {
    "sample_size": 8,
    "block_out_channels": (32, 64, 128),
    "transformer_layers_per_block": (1, 1, 1),
    "attention_head_dim": (1, 1, 2),
    "cross_attention_dim": 128,
    "projection_class_embeddings_input_dim": 6 * 256 + 64,
}
_TINY_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "projection_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
}

#: Name -> configurations; `tiny` is for trying the benchmarks out, `small` the built-in model.
SIZES: dict[str, Size | None] = {
    "tiny": Size(
        _TINY_UNET,
        sdxl_config.VAE | {"sample_size": 64, "block_out_channels": (32, 32, 32, 64)},
        sdxl_config.TEXT_ENCODER | _TINY_TEXT,
        sdxl_config.TEXT_ENCODER_2 | _TINY_TEXT,
    ),
    "small": None,
    "mid": Size(
        _MID_UNET,
        sdxl_config.VAE | {"sample_size": 256, "block_out_channels": (64, 128, 256, 256)},
        sdxl_config.TEXT_ENCODER | _MID_TEXT | _MID_DEPTH,
        sdxl_config.TEXT_ENCODER_2 | _MID_TEXT | _MID_DEPTH,
    ),
    "true": Size(
        sdxl_config.UNET, sdxl_config.VAE, sdxl_config.TEXT_ENCODER, sdxl_config.TEXT_ENCODER_2
    ),
}


def make(size: str, device: torch.device, dtype: str) -> Model:
    """A model of one of `SIZES`, its random weights drawn on the device from a fixed seed.

    Args:
        size: a key of `SIZES`.
        device: to make it on.
        dtype: `fp32`, `fp16` or `bf16`. As with SDXL's own, the VAE of fp16 is fp32.
    """
    model = load_model("demo", device=device, dtype=dtype)
    sizes = SIZES[size]
    if sizes is None:
        return model
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = {
        "vocab_size": len(model.tokenizers[0]),
        "bos_token_id": model.tokenizers[0].bos_token_id,
        "eos_token_id": model.tokenizers[0].eos_token_id,
    }
    first, second = (
        CLIPTextConfig(**config | words) for config in (sizes.text_encoder, sizes.text_encoder_2)
    )
    place = (device, model.dtype)
    vae_dtype = torch.float32 if model.dtype == torch.float16 else model.dtype
    return replace(
        model,
        name=f"random weights, {size}",
        contents=model.contents.changed(f"random weights, {size}"),
        unet=_random(lambda: UNet2DConditionModel(**sizes.unet), *place),
        vae=_random(lambda: AutoencoderKL(**sizes.vae), device, vae_dtype),
        text_encoders=(
            _random(lambda: CLIPTextModel(first), *place),
            _random(lambda: CLIPTextModelWithProjection(second), *place),
        ),
    )


def untouched(model: Model) -> Model:
    """The model in modules of diffusers' own kind, which no engine has changed yet.

    Args:
        model: that no engine was made of so far. The UNet's weights are shared with it.
    """
    weights: dict[int, Any] = {id(weight): weight for weight in model.unet.parameters()}
    return replace(model, unet=copy.deepcopy(model.unet, weights), vae=copy.deepcopy(model.vae))


def _random(build: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> Any:
    """A module with normal weights of a size that keeps activations in range."""
    with torch.device("meta"):
        module = build()
    module = module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    draw = torch.Generator(device).manual_seed(0)
    for name, weight in module.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0, 0.8 / math.sqrt(math.prod(weight.shape[1:])), generator=draw)
        else:
            weight.fill_(float(name.endswith("weight")))
    for name, buffer in module.named_buffers():
        assert name.endswith("position_ids"), f"{name} is of no known content"
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return module
