"""Run by ComfyUI's interpreter in its folder: samples and decodes what a line of JSON asks for."""

import json
import sys
from pathlib import Path
from typing import Any

folder, device, dtype_name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.argv = sys.argv[:1]
sys.path.insert(0, str(Path.cwd()))

import comfy.cli_args

comfy.cli_args.args.cpu = device == "cpu"

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch


def read(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A part's configuration and weights."""
    config = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return config, comfy.utils.load_torch_file(str(folder / f"{name}.safetensors"))


def load_unet(dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """A model as the checkpoint loader makes it, whose widths it would not know."""
    config, weights = read("unet")
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    depths = [
        depth if "Attn" in kind else 0
        for depth, kind in zip(
            config["transformer_layers_per_block"], config["down_block_types"], strict=True
        )
    ]
    own = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "use_spatial_transformer": True,
        "legacy": False,
        "num_classes": "sequential",
        "adm_in_channels": config["projection_class_embeddings_input_dim"],
        "dtype": dtype,
        "model_channels": channels[0],
        "num_res_blocks": [layers] * len(channels),
        "channel_mult": [count // channels[0] for count in channels],
        "transformer_depth": [depth for depth in depths for _ in range(layers)],
        "transformer_depth_output": [depth for depth in depths for _ in range(layers + 1)],
        "transformer_depth_middle": depths[-1],
        "context_dim": config["cross_attention_dim"],
        "use_linear_in_transformer": True,
        "use_temporal_attention": False,
    }
    model_config = comfy.supported_models.SDXL(own)
    model_config.set_inference_dtype(dtype, None)
    model = model_config.get_model({}, "")
    names = comfy.utils.unet_to_diffusers(own)
    model.diffusion_model.load_state_dict({names[name]: w for name, w in weights.items()})
    place = comfy.model_management.get_torch_device()
    model.to(place)
    offload = comfy.model_management.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(model, place, offload), config


def load_vae() -> Any:
    """In the precision that ComfyUI chooses."""
    config, weights = read("vae")
    widths = config["block_out_channels"]
    shape = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": config["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return comfy.sd.VAE(sd=weights, config={"params": {"ddconfig": shape, "embed_dim": 4}})


unet, config = load_unet(getattr(torch, dtype_name))
vae = load_vae()
pooled = config["projection_class_embeddings_input_dim"] - 6 * 256


def conditioning(chunks: int) -> list[Any]:
    """As a text encoder's node gives it."""
    text = torch.randn(1, 77 * chunks, config["cross_attention_dim"])
    return [[text, {"pooled_output": torch.randn(1, pooled)}]]


texts = {chunks: (conditioning(chunks), conditioning(chunks)) for chunks in (1, 2, 3)}
print("done", flush=True)
for line in sys.stdin:
    for job in json.loads(line):
        positive, negative = texts[job["chunks"]]
        latent = torch.zeros(job["images"], 4, job["height"] // 8, job["width"] // 8)
        samples = comfy.sample.sample(
            unet,
            comfy.sample.prepare_noise(latent, job["seed"]),
            job["steps"],
            job["cfg"],
            "euler",
            "normal",
            positive,
            negative,
            latent,
            disable_pbar=True,
            seed=job["seed"],
        )
        vae.decode(samples)
    print("done", flush=True)
