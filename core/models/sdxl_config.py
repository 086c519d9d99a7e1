"""SDXL's configuration, its widths read off the tensors.

The values are those of SDXL base 1.0 (arXiv:2307.01952) under diffusers' names, so that a
checkpoint needs no file beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Channels of one attention head, in UNet and text encoders alike.
_HEAD = 64

UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),  # diffusers' name for the number of heads
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}

VAE: dict[str, Any] = {
    "sample_size": 1024,
    "latent_channels": 4,
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "scaling_factor": 0.13025,
    "force_upcast": True,
}

#: CLIP ViT-L/14 (arXiv:2103.00020).
TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}

#: OpenCLIP ViT-bigG/14 (arXiv:2212.07143).
TEXT_ENCODER_2: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
    "projection_dim": 1280,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}

SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}

Shapes = Mapping[str, tuple[int, ...]]


def unet_config(shapes: Shapes, pooled: int) -> dict[str, Any]:
    """Of a UNet whose tensors have these original names, without prefix, and shapes.

    It has SDXL's three levels; how many blocks each has is counted, since distilled models
    (SSD-1B, Segmind-Vega, KOALA: arXiv:2401.02677, arXiv:2312.04005) have fewer.

    Args:
        shapes: of its tensors.
        pooled: width of the pooled text, which is added to the time together with six sizes.

    Raises:
        KeyError: a tensor that tells a width is missing.
    """
    # A level's residual blocks end in a downsampler, the first block is a convolution.
    layers = next((n for n in range(1, 5) if f"input_blocks.{n + 1}.0.op.weight" in shapes), 2)
    first = range(1, 3 * (layers + 1), layers + 1)
    widths = tuple(shapes[f"input_blocks.{n}.0.out_layers.3.weight"][0] for n in first)
    added = shapes["label_emb.0.0.weight"][1]
    context = next(iter(n for n in shapes if n.endswith("transformer_blocks.0.attn2.to_k.weight")))
    return (
        UNET
        | _blocks(shapes, layers)
        | {
            "block_out_channels": widths,
            "attention_head_dim": tuple(_heads(width) for width in widths),
            "cross_attention_dim": shapes[context][1],
            "projection_class_embeddings_input_dim": added,
            "addition_time_embed_dim": (added - pooled) // 6,
        }
    )


def _blocks(shapes: Shapes, layers: int) -> dict[str, Any]:
    """How many blocks there are, and of what kind; nothing where they are SDXL's own."""

    def depth(block: str) -> int:
        names = (f"{block}.1.transformer_blocks.{n}.norm1.weight" for n in range(25))
        return sum(name in shapes for name in names)

    down = [
        tuple(depth(f"input_blocks.{1 + level * (layers + 1) + n}") for n in range(layers))
        for level in range(3)
    ]
    up = [
        tuple(depth(f"output_blocks.{level * (layers + 1) + n}") for n in range(layers + 1))
        for level in range(3)
    ]
    middle = depth("middle_block")
    if (down, middle, up) == ([(0,) * 2, (2,) * 2, (10,) * 2], 10, [(10,) * 3, (2,) * 3, (0,) * 3]):
        return {}
    rest = "UNetMidBlock2D" if "middle_block.0.in_layers.2.weight" in shapes else None
    return {
        "layers_per_block": layers,
        "down_block_types": tuple(
            "CrossAttnDownBlock2D" if any(level) else "DownBlock2D" for level in down
        ),
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else rest,
        "up_block_types": tuple(
            "CrossAttnUpBlock2D" if any(level) else "UpBlock2D" for level in up
        ),
        "transformer_layers_per_block": tuple(down),
        "reverse_transformer_layers_per_block": tuple(up),
    }


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """Of a VAE whose tensors have these names, original or diffusers', and shapes.

    Raises:
        KeyError: a tensor that tells a width is missing.
    """
    original = "encoder.down.0.block.0.conv1.weight" in shapes
    name = "encoder.down.{}.block.0.conv1" if original else "encoder.down_blocks.{}.resnets.0.conv1"
    widths = tuple(shapes[f"{name.format(n)}.weight"][0] for n in range(4))
    return VAE | {"block_out_channels": widths}


def text_encoder_config(shapes: Shapes) -> dict[str, Any]:
    """Of a CLIP text encoder whose tensors have transformers' names and these shapes.

    Raises:
        KeyError: a tensor that tells a width is missing.
    """
    return _text_config(
        TEXT_ENCODER,
        shapes["text_model.embeddings.token_embedding.weight"],
        shapes["text_model.embeddings.position_embedding.weight"],
        shapes["text_model.encoder.layers.0.mlp.fc1.weight"],
    )


def text_encoder_2_config(shapes: Shapes) -> dict[str, Any]:
    """Of an OpenCLIP text encoder whose tensors have these original names and shapes.

    Raises:
        KeyError: a tensor that tells a width is missing.
    """
    config = _text_config(
        TEXT_ENCODER_2,
        shapes["token_embedding.weight"],
        shapes["positional_embedding"],
        shapes["transformer.resblocks.0.mlp.c_fc.weight"],
    )
    return config | {"projection_dim": shapes["text_projection"][1]}


def _text_config(
    base: dict[str, Any],
    tokens: tuple[int, ...],
    positions: tuple[int, ...],
    mlp: tuple[int, ...],
) -> dict[str, Any]:
    vocabulary, width = tokens
    return base | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": mlp[0],
        "num_attention_heads": _heads(width),
        "max_position_embeddings": positions[0],
        "projection_dim": width,
        # The last two words of the vocabulary, as in CLIP's own.
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def _heads(width: int) -> int:
    return max(1, width // _HEAD)
