"""SDXL weights -> components."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from .digest import digest_files
from .errors import InvalidRequest, ModelNotFound, UnsupportedModel
from .request import PIXELS_PER_LATENT

#: The name of the model that comes with the pack.
DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[1] / "demo_model"

#: Subfolders of a model in diffusers' layout.
PARTS = (
    "unet",
    "vae",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "scheduler",
)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of an SDXL model on one device, ready to be called.

    Attributes:
        name: as it was asked for, without the folders above it.
        folder: that it was loaded from.
        unet: a diffusers UNet2DConditionModel in `dtype`.
        vae: a diffusers AutoencoderKL; in fp32 where it overflows in `dtype`.
        tokenizers: of CLIP ViT-L and of OpenCLIP bigG.
        text_encoders: CLIPTextModel and CLIPTextModelWithProjection in `dtype`.
        scheduler_config: of the scheduler that the model was stored with.
        device: of all parts.
        dtype: of UNet and text encoders.
    """

    name: str
    folder: Path
    unet: Any
    vae: Any
    tokenizers: tuple[Any, Any]
    text_encoders: tuple[Any, Any]
    scheduler_config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model's content: of all weights and configurations that were loaded."""
        files = [
            path
            for part in PARTS
            for path in sorted((self.folder / part).iterdir())
            if path.suffix in (".safetensors", ".bin", ".json", ".txt")
        ]
        return digest_files(self.folder, files)

    @property
    def native_size(self) -> int:
        """Width and height in pixels that the model was made for."""
        return int(self.unet.config.sample_size) * PIXELS_PER_LATENT


def load_model(
    name_or_path: str | Path = DEMO,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
) -> Model:
    """Load an SDXL model from this machine; nothing is downloaded.

    Args:
        name_or_path: `demo` for the built-in model, or a diffusers folder.
        device: None chooses CUDA where there is one, else the CPU.
        dtype: `fp32`, `fp16`, `bf16` or a torch dtype; `auto` is fp16 on CUDA and fp32 elsewhere.

    Raises:
        ModelNotFound: there is no such folder.
        UnsupportedModel: the folder does not hold an SDXL model, or a damaged one.
        InvalidRequest: the dtype is unknown.
    """
    name = str(name_or_path)
    folder = DEMO_FOLDER if name == DEMO else Path(name_or_path)
    _check_folder(folder)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _dtype(dtype, device)

    # The parts one by one: importing the whole pipeline takes longer than loading the demo model.
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    def load(part: Any, subfolder: str, dtype: torch.dtype) -> Any:
        module = part.from_pretrained(folder / subfolder, dtype=dtype, local_files_only=True)
        return module.to(device).eval().requires_grad_(False)

    try:
        vae_config = AutoencoderKL.load_config(folder / "vae", local_files_only=True)
        # Such a VAE overflows in fp16.
        upcast = dtype == torch.float16 and vae_config.get("force_upcast", True)
        return Model(
            name=Path(name).name,
            folder=folder,
            unet=load(UNet2DConditionModel, "unet", dtype),
            vae=load(AutoencoderKL, "vae", torch.float32 if upcast else dtype),
            tokenizers=(
                CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
                CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True),
            ),
            text_encoders=(
                load(CLIPTextModel, "text_encoder", dtype),
                load(CLIPTextModelWithProjection, "text_encoder_2", dtype),
            ),
            scheduler_config=json.loads(
                (folder / "scheduler" / "scheduler_config.json").read_text("utf-8")
            ),
            device=device,
            dtype=dtype,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnsupportedModel(
            "a complete SDXL model in diffusers' layout",
            f"{folder} ({error})",
            "Fetch or copy the folder again.",
        ) from error


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise ModelNotFound(
            f"`{DEMO}` or a folder with an SDXL model",
            f"{folder}, which does not exist",
            "Check the name; models are never downloaded.",
        )
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnsupportedModel(
            "an SDXL model in diffusers' layout, a folder with model_index.json",
            f"{folder} without it",
            "Give the folder that holds unet/, vae/ and the others.",
        )
    try:
        kind = json.loads(index.read_text("utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError):
        kind = "one that cannot be read"
    if not str(kind).startswith("StableDiffusionXL"):
        raise UnsupportedModel(
            "a model_index.json of StableDiffusionXLPipeline",
            f"{kind} in {index}",
            "Use an SDXL model; other families are not supported.",
        )


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise InvalidRequest("a dtype", repr(dtype), f"Choose one of auto, {', '.join(DTYPES)}.")
    return DTYPES[dtype]
