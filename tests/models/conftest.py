"""Checkpoints in SDXL's original layout, built by the inverse of the conversion that loads them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from batch_sdxl.core.models.original_names import original_name
from batch_sdxl.core.models.sdxl_config import SCHEDULER
from batch_sdxl.core.models.spec import DEMO_FOLDER
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
Save = Callable[..., Path]

UNET = "model.diffusion_model."
CLIP_L = "conditioner.embedders.0.transformer."
CLIP_G = "conditioner.embedders.1.model."
VAE = "first_stage_model."


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SDXL's own architecture at 1/20 of its width, as a diffusers folder, in fp16."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

    tokenizers = [
        CLIPTokenizer.from_pretrained(DEMO_FOLDER / n) for n in ("tokenizer", "tokenizer_2")
    ]
    words = {
        "vocab_size": len(tokenizers[0]),
        "bos_token_id": tokenizers[0].bos_token_id,
        "eos_token_id": tokenizers[0].eos_token_id,
    }
    small = CLIPTextConfig(
        hidden_size=32, intermediate_size=48, num_attention_heads=1, num_hidden_layers=12,
        projection_dim=32, hidden_act="quick_gelu", **words,
    )  # fmt: skip
    large = CLIPTextConfig(
        hidden_size=128, intermediate_size=64, num_attention_heads=2, num_hidden_layers=32,
        projection_dim=128, hidden_act="gelu", **words,
    )  # fmt: skip
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        unet=UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(32, 64, 128),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(1, 1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=16,
            transformer_layers_per_block=(1, 2, 10),
            projection_class_embeddings_input_dim=128 + 6 * 16,
            cross_attention_dim=160,
        ),
        vae=AutoencoderKL(
            block_out_channels=(32, 32, 32, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=1024,
            scaling_factor=0.13025,
        ),
        text_encoder=CLIPTextModel(small),
        text_encoder_2=CLIPTextModelWithProjection(large),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        scheduler=EulerDiscreteScheduler(
            **{key: value for key, value in SCHEDULER.items() if key != "_class_name"}
        ),
    ).to(torch.float16)
    path = tmp_path_factory.mktemp("wide") / "small-sdxl"
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="package")
def tensors(folder: Path) -> Tensors:
    """All tensors of the folder under their original names."""

    def weights(part: str, name: str = "model") -> Tensors:
        return load_file(folder / part / f"{name}.safetensors")

    return original_tensors(
        weights("unet", "diffusion_pytorch_model"),
        weights("vae", "diffusion_pytorch_model"),
        weights("text_encoder"),
        weights("text_encoder_2"),
    )


def original_tensors(
    unet: Tensors, vae: Tensors, text_encoder: Tensors, text_encoder_2: Tensors
) -> Tensors:
    """The parts of a model, under diffusers' names, as one file has them."""
    found = {UNET + original_name(name): tensor for name, tensor in unet.items()}
    for name, tensor in vae.items():
        new = original_vae_name(name)
        # Attention was made of convolutions over single pixels.
        is_projection = ".attn_1." in new and tensor.ndim == 2
        found[VAE + new] = tensor[:, :, None, None] if is_projection else tensor
    for name, tensor in text_encoder.items():
        found[CLIP_L + "text_model." + name.removeprefix("text_model.")] = tensor
    found |= original_open_clip(text_encoder_2)
    found[CLIP_L + "text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return {name: tensor.contiguous() for name, tensor in found.items()}


def original_vae_name(name: str) -> str:
    for ours, theirs in {
        "down_blocks.": "down.",
        "resnets.": "block.",
        "downsamplers.0.": "downsample.",
        "upsamplers.0.": "upsample.",
        "mid_block.block.0": "mid.block_1",
        "mid_block.block.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1",
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_out.0": "proj_out",
        "to_q.": "q.",
        "to_k.": "k.",
        "to_v.": "v.",
    }.items():
        name = name.replace(ours, theirs)
    if "up_blocks." in name:
        head, tail = name.split("up_blocks.")
        name = f"{head}up.{3 - int(tail[0])}{tail[1:]}"
    return name


def original_open_clip(weights: Tensors) -> Tensors:
    found: Tensors = {}
    for name, tensor in weights.items():
        new = name.removeprefix("text_model.")
        for ours, theirs in {
            "encoder.layers.": "transformer.resblocks.",
            "layer_norm1": "ln_1",
            "layer_norm2": "ln_2",
            "fc1": "c_fc",
            "fc2": "c_proj",
            "self_attn": "attn",
            "final_layer_norm": "ln_final",
            "embeddings.token_embedding": "token_embedding",
            "embeddings.position_embedding.weight": "positional_embedding",
        }.items():
            new = new.replace(ours, theirs)
        if new == "text_projection.weight":
            new, tensor = "text_projection", tensor.T
        if "_proj." not in new or "c_proj" in new or "out_proj" in new:
            found[CLIP_G + new] = tensor
        elif "q_proj" in new:
            three = [weights[name.replace("q_proj", f"{kind}_proj")] for kind in "qkv"]
            joined = new.replace("q_proj.", "in_proj_")
            found[CLIP_G + joined] = torch.cat(three)
    return found


@pytest.fixture
def save(tmp_path: Path, tensors: Tensors) -> Save:
    """Writes a checkpoint with CLIP's tokenizer beside it."""

    def write(
        changes: dict[str, torch.Tensor | None] | None = None,
        *,
        metadata: dict[str, str] | None = None,
        tokenizer: bool = True,
    ) -> Path:
        content = {k: v for k, v in (tensors | (changes or {})).items() if v is not None}
        path = tmp_path / "model.safetensors"
        save_file(content, path, metadata)
        if tokenizer:
            for file in ("vocab.json", "merges.txt"):
                shutil.copy(DEMO_FOLDER / "tokenizer" / file, tmp_path / file)
        return path

    return write
