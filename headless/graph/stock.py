"""What inputs ComfyUI's own nodes have, of those that `convert` turns into ours.

They run nothing. Names, order and defaults are ComfyUI's, since workflow files count on them.
"""

from __future__ import annotations

from typing import Any

Inputs = dict[str, Any]

_TEXT = ("STRING", {"multiline": True})
_COMBO: tuple[str, Inputs] = ("COMBO", {})
_STRENGTH = ("FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0})
_SIDE = ("INT", {"default": 512, "min": 16, "max": 16384})
_PIXELS = ("INT", {"default": 1024, "min": 0, "max": 16384})
_CROP = ("INT", {"default": 0, "min": 0, "max": 16384})
_ANY_INT = ("INT", {"control_after_generate": True})

#: Class -> the types of its outputs, and its inputs.
_DECLARED: dict[str, tuple[tuple[str, ...], Inputs]] = {
    "CheckpointLoaderSimple": (("MODEL", "CLIP", "VAE"), {"ckpt_name": _COMBO}),
    "VAELoader": (("VAE",), {"vae_name": _COMBO}),
    "LoraLoader": (
        ("MODEL", "CLIP"),
        {
            "model": ("MODEL",),
            "clip": ("CLIP",),
            "lora_name": _COMBO,
            "strength_model": _STRENGTH,
            "strength_clip": _STRENGTH,
        },
    ),
    "LoraLoaderModelOnly": (
        ("MODEL",),
        {"model": ("MODEL",), "lora_name": _COMBO, "strength_model": _STRENGTH},
    ),
    "CLIPSetLastLayer": (
        ("CLIP",),
        {
            "clip": ("CLIP",),
            "stop_at_clip_layer": ("INT", {"default": -1, "min": -24, "max": -1}),
        },
    ),
    "CLIPTextEncode": (("CONDITIONING",), {"text": _TEXT, "clip": ("CLIP",)}),
    "CLIPTextEncodeSDXL": (
        ("CONDITIONING",),
        {
            "clip": ("CLIP",),
            "width": _PIXELS,
            "height": _PIXELS,
            "crop_w": _CROP,
            "crop_h": _CROP,
            "target_width": _PIXELS,
            "target_height": _PIXELS,
            "text_g": _TEXT,
            "text_l": _TEXT,
        },
    ),
    "ConditioningZeroOut": (("CONDITIONING",), {"conditioning": ("CONDITIONING",)}),
    "EmptyLatentImage": (
        ("LATENT",),
        {
            "width": _SIDE,
            "height": _SIDE,
            "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
        },
    ),
    "VAEEncode": (("LATENT",), {"pixels": ("IMAGE",), "vae": ("VAE",)}),
    "VAEDecode": (("IMAGE",), {"samples": ("LATENT",), "vae": ("VAE",)}),
    "KSampler": (
        ("LATENT",),
        {
            "model": ("MODEL",),
            "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1}),
            "steps": ("INT", {"default": 20, "min": 1, "max": 10_000}),
            "cfg": ("FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}),
            "sampler_name": _COMBO,
            "scheduler": _COMBO,
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "latent_image": ("LATENT",),
            "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0}),
        },
    ),
    "KSamplerAdvanced": (
        ("LATENT",),
        {
            "model": ("MODEL",),
            "add_noise": (["enable", "disable"],),
            "noise_seed": (
                "INT",
                {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True},
            ),
            "steps": ("INT", {"default": 20, "min": 1, "max": 10_000}),
            "cfg": ("FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}),
            "sampler_name": _COMBO,
            "scheduler": _COMBO,
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "latent_image": ("LATENT",),
            "start_at_step": ("INT", {"default": 0, "min": 0, "max": 10_000}),
            "end_at_step": ("INT", {"default": 10_000, "min": 0, "max": 10_000}),
            "return_with_leftover_noise": (["disable", "enable"],),
        },
    ),
    "PrimitiveString": (("STRING",), {"value": ("STRING", {})}),
    "PrimitiveStringMultiline": (("STRING",), {"value": _TEXT}),
    "PrimitiveInt": (("INT",), {"value": _ANY_INT}),
    "PrimitiveFloat": (("FLOAT",), {"value": ("FLOAT", {})}),
    "PrimitiveBoolean": (("BOOLEAN",), {"value": ("BOOLEAN", {})}),
}

PRIMITIVES = tuple(name for name in _DECLARED if name.startswith("Primitive"))


def _declare(outputs: tuple[str, ...], inputs: Inputs) -> type[Any]:
    declared = classmethod(lambda cls: {"required": inputs})
    return type("Declared", (), {"INPUT_TYPES": declared, "RETURN_TYPES": outputs})


CLASSES = {name: _declare(*declared) for name, declared in _DECLARED.items()}

_TWO_PROMPTS = "an image has one prompt here: write one text"
_LATENTS = (
    "latents are not scaled here: decode them, scale the images by Upscale Image By, and encode "
    "those (VAE Encode)"
)
#: Classes that stand in many graphs and mean something that ours do not: what to do instead.
REFUSED = {
    "ConditioningAverage": _TWO_PROMPTS,
    "ConditioningCombine": _TWO_PROMPTS,
    "ConditioningConcat": "write both texts in one prompt, with BREAK between them",
    "ConditioningSetArea": _TWO_PROMPTS,
    "ConditioningSetMask": _TWO_PROMPTS,
    "ControlNetApply": "there is no ControlNet here",
    "ControlNetApplyAdvanced": "there is no ControlNet here",
    "LatentUpscale": _LATENTS,
    "LatentUpscaleBy": _LATENTS,
    "SetLatentNoiseMask": "there is no inpainting here",
    "VAEEncodeForInpaint": "there is no inpainting here",
}

TITLES = {
    "CheckpointLoaderSimple": "Load Checkpoint",
    "VAELoader": "Load VAE",
    "LoraLoader": "Load LoRA",
    "LoraLoaderModelOnly": "LoraLoaderModelOnly",
    "CLIPSetLastLayer": "CLIP Set Last Layer",
    "CLIPTextEncode": "CLIP Text Encode (Prompt)",
    "KSamplerAdvanced": "KSampler (Advanced)",
    "EmptyLatentImage": "Empty Latent Image",
    "VAEEncode": "VAE Encode",
    "VAEDecode": "VAE Decode",
}
