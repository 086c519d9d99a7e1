"""Writes the trained parts as one diffusers folder, in fp16, with SDXL base's layout."""

from pathlib import Path

import torch
from demo_unet import build_scheduler, build_text_encoders, build_unet
from demo_vae import build_vae
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer


def export(work: Path, model: Path) -> None:
    """Fills the model folder from `vae.pt` and the running average in `unet-run.pt`."""
    weights = torch.load(work / "unet-run.pt", weights_only=True)["average"]
    first, second = build_text_encoders()
    parts = {
        "unet": build_unet(),
        "vae": build_vae(),
        "text_encoder": first,
        "text_encoder_2": second,
    }
    parts["unet"].load_state_dict(_under("unet.", weights))
    parts["vae"].load_state_dict(torch.load(work / "vae.pt", weights_only=True))
    parts["text_encoder"].load_state_dict(_under("text.first.", weights))
    parts["text_encoder_2"].load_state_dict(_under("text.second.", weights))
    for name, part in parts.items():
        part.half().save_pretrained(model / name)
    # transformers 5 leaves out a prefix that transformers 4 needs, and reads either form.
    path = model / "text_encoder" / "model.safetensors"
    named = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in load_file(path).items()}
    save_file(named, path, metadata={"format": "pt"})
    scheduler = build_scheduler()
    scheduler.save_pretrained(model / "scheduler")
    names = ("tokenizer", "tokenizer_2")
    tokenizers = {name: CLIPTokenizer.from_pretrained(model / name) for name in names}
    pipe = StableDiffusionXLPipeline(
        **parts,
        **tokenizers,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipe.save_config(model)  # the index alone: the tokenizers' own files are already there


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = weights.items()
    return {key.removeprefix(prefix): value for key, value in found if key.startswith(prefix)}
