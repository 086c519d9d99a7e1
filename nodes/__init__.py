"""What a person drags: one thin file a node."""

from __future__ import annotations

from typing import Any

from .apply_lora import ApplyLora
from .batch_generate import BatchGenerate
from .contact_sheet import ContactSheet
from .load_image_batch import LoadImageBatch
from .load_sdxl import LoadSDXL
from .model_from_comfyui import ModelFromComfyUI
from .prompt_list import PromptList
from .prompt_settings import PromptSettings
from .prompts_to_conditioning import PromptsToConditioning
from .refine_prompts import RefinePrompts
from .save_image_batch import SaveImageBatch
from .seed_list import SeedList
from .seeds_to_noise import SeedsToNoise
from .select_images import SelectImages

#: Ids are stored in saved workflows: they never change once released.
NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {
    "BatchSDXL_LoadSDXL": LoadSDXL,
    "BatchSDXL_ApplyLora": ApplyLora,
    "BatchSDXL_PromptList": PromptList,
    "BatchSDXL_PromptSettings": PromptSettings,
    "BatchSDXL_SeedList": SeedList,
    "BatchSDXL_LoadImageBatch": LoadImageBatch,
    "BatchSDXL_BatchGenerate": BatchGenerate,
    "BatchSDXL_SaveImageBatch": SaveImageBatch,
    "BatchSDXL_SelectImages": SelectImages,
    "BatchSDXL_RefinePrompts": RefinePrompts,
    "BatchSDXL_ContactSheet": ContactSheet,
    "BatchSDXL_PromptsToConditioning": PromptsToConditioning,
    "BatchSDXL_SeedsToNoise": SeedsToNoise,
    "BatchSDXL_ModelFromComfyUI": ModelFromComfyUI,
}

NODE_DISPLAY_NAME_MAPPINGS = {
    "BatchSDXL_LoadSDXL": "Load SDXL",
    "BatchSDXL_ApplyLora": "Apply LoRA",
    "BatchSDXL_PromptList": "Prompt List",
    "BatchSDXL_PromptSettings": "Prompt Settings",
    "BatchSDXL_SeedList": "Seed List",
    "BatchSDXL_LoadImageBatch": "Load Image Batch",
    "BatchSDXL_BatchGenerate": "Batch Generate",
    "BatchSDXL_SaveImageBatch": "Save Image Batch",
    "BatchSDXL_SelectImages": "Select Images",
    "BatchSDXL_RefinePrompts": "Refine Prompts",
    "BatchSDXL_ContactSheet": "Contact Sheet",
    "BatchSDXL_PromptsToConditioning": "Prompts to Conditioning",
    "BatchSDXL_SeedsToNoise": "Seeds to Noise",
    "BatchSDXL_ModelFromComfyUI": "Model From ComfyUI",
}
