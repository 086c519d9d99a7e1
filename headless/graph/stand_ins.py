"""ComfyUI's own nodes that most workflows have, so that these run without it.

Behaviour is ComfyUI's except where it says otherwise.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...core.errors import BatchSDXLError, InvalidImage, OutputError
from ...core.images.source import read_image
from ...core.saving.writer import save_png
from ...host import host
from ...host.latents import Latents, latents_shape
from ...host.paths import find_input, place_output, ui_entry
from ...host.roots import without_home
from . import stock

if TYPE_CHECKING:
    import torch

Inputs = dict[str, dict[str, Any]]


class LoadImage:
    """One image of the input folders; of an animation the first frame only."""

    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """One combo. Its choices are left out: any file of the input folders is one."""
        return {"required": {"image": ("COMBO", {"image_upload": True})}}

    @classmethod
    def VALIDATE_INPUTS(cls, image: str | None) -> bool | BatchSDXLError:
        """Refuse a missing file before anything runs."""
        try:
            if image is not None:
                _find(str(image))
        except BatchSDXLError as error:
            return error
        return True

    def load(self, image: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, H, W, 3) float32 in 0..1, and a mask: 1 - alpha, or 64 x 64 zeros without alpha."""
        import torch

        source = read_image(_find(image))
        mask = np.zeros((64, 64), np.float32) if source.mask is None else source.mask
        return torch.from_numpy(source.pixels.copy())[None], torch.from_numpy(mask.copy())[None]


class SaveImage:
    """Each image of a batch as a PNG below the output folder."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as in ComfyUI."""
        return {
            "required": {
                "images": ("IMAGE", {}),
                "filename_prefix": ("STRING", {"default": "ComfyUI"}),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, filename_prefix: str | None) -> bool | BatchSDXLError:
        """Refuse a place outside the output folder before anything runs."""
        try:
            if filename_prefix is not None:
                place_output(_filled_in(filename_prefix, 0, 0))
        except BatchSDXLError as error:
            return error
        return True

    def save(
        self,
        images: torch.Tensor,
        filename_prefix: str,
        prompt: Mapping[str, Any] | None = None,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write `prefix_00001_.png` and so on; with %batch_num%, each name has its own numbers."""
        info = PngInfo()
        if host.current().saves_metadata():
            for key, value in {"prompt": prompt, **(extra_pnginfo or {})}.items():
                if value is not None:
                    info.add_text(key, json.dumps(without_home(value)))
        height, width = images.shape[1:3]
        folder, name = place_output(_filled_in(filename_prefix, int(width), int(height)))
        files = []
        for index, image in enumerate(images):
            # Cut, not rounded, as ComfyUI does.
            pixels = np.clip(image.float().cpu().numpy() * 255, 0, 255).astype(np.uint8)
            stem = name.replace("%batch_num%", str(index))
            files.append(save_png(folder, f"{stem}_*_", pixels, info))
        return {"ui": {"images": [ui_entry(file) for file in files]}, "result": (images,)}


class PreviewImage:
    """Nothing to see without a screen: no output node, so what only it needs does not run."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "preview"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as in ComfyUI."""
        return {"required": {"images": ("IMAGE", {})}}

    def preview(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Hand the images on."""
        return (images,)


class ImageScaleBy:
    """Images made larger or smaller, by torch, or for lanczos by Pillow."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    EACH_ALONE = "image"
    CATEGORY = "image/upscaling"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as in ComfyUI."""
        return {
            "required": {
                "image": ("IMAGE", {}),
                "upscale_method": (["nearest-exact", "bilinear", "area", "bicubic", "lanczos"], {}),
                "scale_by": ("FLOAT", {"default": 1.0, "min": 0.01, "max": 8.0, "step": 0.01}),
            }
        }

    def upscale(
        self, image: torch.Tensor, upscale_method: str, scale_by: float
    ) -> tuple[torch.Tensor]:
        """(B, H, W, C) -> (B, H * scale_by, W * scale_by, C)."""
        import torch

        size = [round(side * scale_by) for side in image.shape[1:3]]
        if upscale_method == "lanczos":
            return (torch.stack([_resampled(one, size) for one in image]),)
        planes = image.movedim(-1, 1)
        scaled = torch.nn.functional.interpolate(planes, size=size, mode=upscale_method)
        return (scaled.movedim(1, -1),)


class EmptyLatentImage:
    """Latents that are all zero, which to Batch Generate are a size."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "generate"
    CATEGORY = "latent"
    INPUT_TYPES = stock.CLASSES["EmptyLatentImage"].INPUT_TYPES

    def generate(self, width: int, height: int, batch_size: int) -> tuple[Latents]:
        """`batch_size` of them, of images of this size in pixels."""
        import torch

        return ({"samples": torch.zeros(batch_size, *latents_shape(height, width))},)


NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {
    "LoadImage": LoadImage,
    "SaveImage": SaveImage,
    "PreviewImage": PreviewImage,
    "ImageScaleBy": ImageScaleBy,
    "EmptyLatentImage": EmptyLatentImage,
}

NODE_DISPLAY_NAME_MAPPINGS = {
    "LoadImage": "Load Image",
    "SaveImage": "Save Image",
    "PreviewImage": "Preview Image",
    "ImageScaleBy": "Upscale Image By",
    "EmptyLatentImage": stock.TITLES["EmptyLatentImage"],
}


def _resampled(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(H, W, C) in 0..1 at another height and width, by way of 8 bits, as in ComfyUI."""
    import torch

    pixels = np.clip(image.float().cpu().numpy() * 255, 0, 255).astype(np.uint8)
    height, width = size
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(resized, np.float32) / np.float32(255))


def _find(name: str) -> Path:
    """The file of that name; ComfyUI's editor adds ` [output]` to one of the output folder."""
    roots = [host.current().output_folder()] if name.endswith(" [output]") else None
    path = find_input(re.sub(r" \[(input|output)\]$", "", name), roots)
    if path.is_dir():
        raise InvalidImage("an image file", f"the folder {path}", "Name a file in it.")
    return path


def _filled_in(prefix: str, width: int, height: int) -> str:
    """A prefix whose variables are replaced by their values."""
    if "%" in prefix:
        variables = {"width": str(width), "height": str(height)}
        for word, code in zip(
            ("year", "month", "day", "hour", "minute", "second"), "YmdHMS", strict=True
        ):
            variables[word] = time.strftime(f"%{code}")
        for word, value in variables.items():
            prefix = prefix.replace(f"%{word}%", value)
    if re.search(r"%date:[^%]*%|%[^%/]+\.[^%]+%", prefix):
        raise OutputError(
            "a filename_prefix that needs no editor (%year%, %month%, %day%, %hour%, %minute%, "
            "%second%, %width%, %height%, %batch_num%)",
            f'"{prefix}"',
            "Only ComfyUI's editor fills in %date:...% and %Node.input%: write it another way.",
        )
    return prefix
