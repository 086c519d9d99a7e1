"""The options of `batch-sdxl generate` that set one input of a node."""

from __future__ import annotations

from ...core.samplers.spacings import SPACINGS
from ...core.samplers.table import SAMPLERS

#: Name -> what stands for the value, and what it is.
OPTIONS = {
    "negative_prompt": ("TEXT", "what no image should show"),
    "combine": (
        "HOW",
        "zip: first prompt with first seed; product: each with each; cycle: shorter repeat",
    ),
    "model": (
        "NAME",
        '"demo", a checkpoint, a diffusers folder, or a name on the Hugging Face hub',
    ),
    "vae": ("FILE", "a VAE in place of the model's own"),
    "dtype": ("TYPE", "precision: auto, fp32, fp16, bf16"),
    "width": ("PIXELS", "a multiple of 8; 0 is the image's, else the model's own"),
    "height": ("PIXELS", "as --width"),
    "fit": ("HOW", "how input images are brought to a size: crop, pad, stretch, bucket"),
    "strength": ("X", "share of the steps that is run on an input image, over 0 to 1"),
    "steps": ("N", "denoising steps"),
    "cfg": ("X", "guidance scale; up to 1 is off"),
    "sampler_name": ("NAME", ", ".join(SAMPLERS)),
    "scheduler": ("NAME", "spacing of the noise: " + ", ".join(SPACINGS)),
    "rows_per_call": ("N", "rows of one UNet call, an even number; 0 chooses"),
    "file_name": ("TEMPLATE", "names such as {source}_{index:04}_{seed}; {i} counts from 0"),
    "format": ("NAME", "png, png 16 bit, jpeg, webp, webp lossless, avif"),
    "quality": ("N", "of JPEG, WebP and AVIF, 1 to 100"),
}

#: What a fresh node has, for `--help`: a test holds them to the nodes, which take long to import.
DEFAULTS = {
    "combine": "zip",
    "model": "demo",
    "dtype": "auto",
    "width": "0",
    "height": "0",
    "fit": "crop",
    "strength": "0.5",
    "steps": "20",
    "cfg": "7.0",
    "sampler_name": "euler",
    "scheduler": "normal",
    "rows_per_call": "0",
    "file_name": "{prefix}_{number:05}_seed{seed}",
    "format": "png",
    "quality": "90",
}
