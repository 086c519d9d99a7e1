"""What Batch Generate asks for."""

from __future__ import annotations

from ..core.combinations import COMBINATIONS
from ..core.request.text import EMPTY_NEGATIVES
from ..core.samplers.spacings import SPACINGS
from ..core.samplers.table import SAMPLERS
from ..host.rendering import ON_ERROR
from ..host.types import MODEL, PROMPTS, SEEDS, Inputs
from ..host.workers import DEVICES


def batch_inputs() -> Inputs:
    """Inputs as ComfyUI wants them described."""
    size = {"default": 0, "min": 0, "max": 16384, "step": 8}
    return {
        "required": {
            "model": (MODEL, {"tooltip": "Of Load SDXL, or Model From ComfyUI."}),
            "prompts": (
                f"{PROMPTS},STRING",
                {"tooltip": "Of Prompt List; or texts, each of them one prompt."},
            ),
            "width": (
                "INT",
                {
                    **size,
                    "tooltip": "Pixels, a multiple of 8. 0: the input image's, else the "
                    "model's own (1024 for SDXL, 128 for the demo model).",
                },
            ),
            "height": ("INT", {**size, "tooltip": "Pixels, as width."}),
            "steps": (
                "INT",
                {
                    "default": 20,
                    "min": 1,
                    "max": 10_000,
                    "tooltip": "Denoising steps; more are slower and often finer. A list has "
                    "one for each prompt.",
                },
            ),
            "cfg": (
                "FLOAT",
                {
                    "default": 7.0,
                    "min": 0.0,
                    "max": 100.0,
                    "step": 0.1,
                    "round": 0.01,
                    "tooltip": "Guidance scale: how closely to follow the prompt. "
                    "Up to 1 turns guidance and the negative prompt off, in half the time. A "
                    "list has one for each prompt.",
                },
            ),
            "sampler_name": (list(SAMPLERS), {"tooltip": "The method of the steps."}),
            "scheduler": (
                list(SPACINGS),
                {"tooltip": "The spacing of the noise levels."},
            ),
            "strength": (
                "FLOAT",
                {
                    "default": 0.5,
                    "min": 0.01,
                    "max": 1.0,
                    "step": 0.01,
                    "round": 0.001,
                    "tooltip": "With input images or latents only: the share of the steps that is "
                    "run. Small stays near the image. (Not ComfyUI's denoise, which keeps the "
                    "number of steps.) A list has one for each prompt.",
                },
            ),
            "combine": (
                list(COMBINATIONS),
                {
                    "tooltip": "zip: first with first and so on, a list of one serves for all. "
                    "product: each prompt with each image and each seed. "
                    "cycle: shorter lists repeat."
                },
            ),
        },
        "optional": {
            "seeds": (
                f"{SEEDS},INT",
                {
                    "tooltip": "Of Seed List, or whole numbers. They win over seeds that the "
                    "prompts' own rows have; without them each row needs one."
                },
            ),
            "images": (
                "IMAGE",
                {"tooltip": "Images to start from, one a prompt or one for all."},
            ),
            "names": (
                "STRING",
                {"forceInput": True, "tooltip": "Names of the images, of Load Image Batch."},
            ),
            "variation_seeds": (
                f"{SEEDS},INT",
                {
                    "tooltip": "Of a second Seed List, to vary an image that you like: one "
                    "seed with many variation seeds gives its relatives."
                },
            ),
            "variation_strength": (
                "FLOAT",
                {
                    "default": 0.1,
                    "min": 0.0,
                    "max": 1.0,
                    "step": 0.01,
                    "round": 0.001,
                    "tooltip": "With variation seeds only: how far the noise of the seed is "
                    "turned towards theirs. 0 is the image itself, 1 the other seed's.",
                },
            ),
            "unrounded": (
                "BOOLEAN",
                {
                    "default": False,
                    "advanced": True,
                    "tooltip": "Give images as the VAE decoded them, for PNG of 16 bits. "
                    "Otherwise they are rounded once to 8 bits, so that every node saves the "
                    "same pixels.",
                },
            ),
            "rows_per_call": (
                "INT",
                {
                    "default": 0,
                    "min": 0,
                    "max": 256,
                    "step": 2,
                    "advanced": True,
                    "tooltip": "Rows of one UNet call, two for each image while cfg is over "
                    "1; an even number. 0 chooses by device and size. Other numbers may give "
                    "other bits, so it is written into the files.",
                },
            ),
            "vae_tile": (
                "INT",
                {
                    "default": 0,
                    "min": 0,
                    "max": 4096,
                    "step": 64,
                    "advanced": True,
                    "tooltip": "Pixels, 128 or more: larger images go through the VAE in tiles "
                    "of this width and height, which saves memory and changes bits near the "
                    "seams. 0 is off.",
                },
            ),
            "empty_negative": (
                [*EMPTY_NEGATIVES, "auto"],
                {
                    "advanced": True,
                    "tooltip": "What stands for an empty negative prompt. empty: its text, "
                    "encoded, as in ComfyUI. zeros: no numbers at all, as diffusers does with "
                    "SDXL base. auto: as the model's own configuration says.",
                },
            ),
            "on_error": (
                list(ON_ERROR),
                {
                    "advanced": True,
                    "tooltip": "What to do about an image that comes out as no numbers (NaN). "
                    "stop: end the run. skip: go on without it, and say which failed.",
                },
            ),
            "latents": (
                "LATENT",
                {
                    "tooltip": "Latents to start from in place of images, one a prompt or one for "
                    "all: of VAE Encode, KSampler or another Batch Generate. Those of Empty Latent "
                    "Image say the size alone, whatever the strength: text to image."
                },
            ),
            "devices": (
                list(DEVICES),
                {
                    "advanced": True,
                    "tooltip": "Where images are made. one: on ComfyUI's own device. all: on "
                    "every GPU of this machine, or of a cluster that the server names; needs "
                    "Ray. The images are the same.",
                },
            ),
        },
        "hidden": {"unique_id": "UNIQUE_ID"},
    }
