"""PromptSettings: prompts -> prompts with what SDXL is told beside them."""

from __future__ import annotations

from typing import ClassVar

from ..core.prompts.prompt import Prompt
from ..host.types import PROMPTS, BatchNode, Inputs

SHARE = {"min": 0.0, "max": 1.0, "step": 0.05, "round": 0.001}


class PromptSettings(BatchNode):
    """Gives prompts the sizes and the crop that SDXL is told, and rare settings of guidance."""

    DESCRIPTION = (
        "Gives prompts what SDXL takes beside the text: the size and the crop that it believes the "
        "picture had, clip skip, guidance rescale and where guidance is on. Values in a prompt's "
        "own row win."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "original size",
        "target size",
        "crop",
        "clip skip",
        "rescale cfg",
        "guidance interval",
        "CLIPTextEncodeSDXL",
    ]
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")
    OUTPUT_TOOLTIPS = ("The prompts, for Batch Generate.", "How many they are.")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        pixels = {"default": 0, "min": 0, "max": 16384, "step": 8}
        return {
            "required": {
                "prompts": (PROMPTS, {"tooltip": "Of Prompt List or Refine Prompts."}),
                "original_width": (
                    "INT",
                    {
                        **pixels,
                        "tooltip": "Pixels that SDXL is told the picture had before scaling. Small "
                        "values give the look of small pictures. 0: the image's own width.",
                    },
                ),
                "original_height": ("INT", {**pixels, "tooltip": "Pixels, as original_width."}),
                "crop_left": (
                    "INT",
                    {
                        **pixels,
                        "tooltip": "Pixels that SDXL is told were cut off at the left. More than 0 "
                        "moves what is shown out of the middle.",
                    },
                ),
                "crop_top": ("INT", {**pixels, "tooltip": "Pixels, as crop_left, at the top."}),
                "target_width": (
                    "INT",
                    {
                        **pixels,
                        "tooltip": "Pixels that SDXL is told the picture has. 0: the image's own "
                        "width.",
                    },
                ),
                "target_height": ("INT", {**pixels, "tooltip": "Pixels, as target_width."}),
                "clip_skip": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 30,
                        "tooltip": "Layers of the text encoders to leave out, counted from the one "
                        "that SDXL was trained with. What other programs call clip skip 2 is 0 "
                        "here.",
                    },
                ),
                "guidance_rescale": (
                    "FLOAT",
                    {
                        **SHARE,
                        "default": 0.0,
                        "tooltip": "How far to bring the contrast of a guided image back to the "
                        "prompt's own. 0 is off; 0.7 suits v-prediction models.",
                    },
                ),
                "guidance_start": (
                    "FLOAT",
                    {
                        **SHARE,
                        "default": 0.0,
                        "tooltip": "Guidance (cfg) is off before this share of the way from noise "
                        "to image. A step without guidance costs half. 0: guided from the start.",
                    },
                ),
                "guidance_end": (
                    "FLOAT",
                    {
                        **SHARE,
                        "default": 1.0,
                        "tooltip": "Guidance (cfg) is off after this share of the way from noise "
                        "to image. 1: guided to the end.",
                    },
                ),
            }
        }

    def run(
        self, prompts: tuple[Prompt, ...], **settings: int | float
    ) -> tuple[tuple[Prompt, ...], int]:
        """Set what is not as it is by default, which stands for the image's own."""
        inputs = self.INPUT_TYPES()["required"]
        told = {
            name: value for name, value in settings.items() if value != inputs[name][1]["default"]
        }
        return tuple(prompt.with_defaults(told) for prompt in prompts), len(prompts)
