"""A folder in diffusers' layout -> components."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..errors import UnsupportedModel
from .contents import Contents

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


class DiffusersFolder:
    """A folder that holds an SDXL model, part by part."""

    def __init__(self, path: Path) -> None:
        """Look at its index.

        Raises:
            UnsupportedModel: it is not an SDXL model.
        """
        _check_index(path)
        _check_kind(path)
        _check_guidance(path)
        self._path = path

    @property
    def has_vae(self) -> bool:
        """Whether there is one in it."""
        return (self._path / "vae").is_dir()

    @property
    def vae_upcasts(self) -> bool:
        """Whether its VAE overflows in fp16."""
        return upcasts(self._path / "vae")

    def load(self, name: str, device: torch.device, dtype: torch.dtype) -> Any:
        """The component `unet`, `text_encoder`, `text_encoder_2` or `vae`.

        Raises:
            UnsupportedModel: it is not there, or damaged.
        """
        return load_part(self._path / name, name, device, dtype)

    def skeleton(self, name: str) -> Any:
        """A component without its weights, on torch's `meta` device.

        Raises:
            UnsupportedModel: it is not there.
        """
        folder = self._path / name
        with _reading(folder), torch.device("meta"):
            if not any(folder.glob("*.safetensors")):
                raise OSError("no weights in .safetensors")
            component = _component(name)
            if hasattr(component, "load_config"):  # diffusers' way, else transformers'
                return component.from_config(component.load_config(folder))
            return component(component.config_class.from_pretrained(folder))

    def load_tokenizers(self) -> tuple[Any, Any]:
        """Of CLIP ViT-L and of OpenCLIP bigG.

        Raises:
            UnsupportedModel: they are not there, or damaged.
        """
        from transformers import CLIPTokenizer

        with _reading(self._path):
            first, second = (
                CLIPTokenizer.from_pretrained(self._path / name, local_files_only=True)
                for name in ("tokenizer", "tokenizer_2")
            )
        return first, second

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """Of the scheduler that the model was stored with.

        Raises:
            UnsupportedModel: it is not there, or damaged.
        """
        file = self._path / "scheduler" / "scheduler_config.json"
        with _reading(self._path):
            return dict(json.loads(file.read_text("utf-8")))

    def contents(self, *, with_vae: bool) -> Contents:
        """Its files.

        Raises:
            UnsupportedModel: a part is missing.
        """
        parts = [self._path / name for name in PARTS if with_vae or name != "vae"]
        with _reading(self._path):
            return Contents(self._path, tuple(path for part in parts for path in part_files(part)))


def load_part(folder: Path, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """The component in a folder, of the weights' variant that is there.

    Raises:
        UnsupportedModel: it is not there, or damaged.
    """
    with _reading(folder):
        # The parts one by one: importing the pipeline takes longer than loading the demo model.
        module = _component(name).from_pretrained(
            folder,
            dtype=dtype,
            variant=variant(folder),
            use_safetensors=True,  # pickled weights can run any program when they are opened
            local_files_only=True,
        )
    return module.to(device).eval().requires_grad_(False)


def upcasts(folder: Path) -> bool:
    """Whether the VAE in a folder says that it overflows in fp16; so do those that say nothing."""
    with _reading(folder):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return bool(config.get("force_upcast", True))


def part_files(folder: Path) -> list[Path]:
    """The files that a part is loaded from."""
    half = variant(folder) is not None
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".txt")
        or (path.suffix == ".safetensors" and (".fp16" in path.name) == half)
    ]


def _check_kind(folder: Path) -> None:
    """Refuse relatives of SDXL, which have pipelines of its name too."""
    index, unet, scheduler = (
        read_config(folder / name)
        for name in ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
    )
    found = None
    if index.get("text_encoder") == [None, None]:
        found = "an SDXL refiner"
    elif unet.get("in_channels", 4) != 4:
        found = f"a model for inpainting or editing, with {unet['in_channels']} input channels"
    elif str(scheduler.get("_class_name")).startswith("EDM"):
        found = "a model whose noise levels are not SDXL's"
    if found:
        raise UnsupportedModel(
            "an SDXL model",
            f"{folder}, which holds {found}",
            "Use an SDXL base model or a fine-tune of it.",
        )


def read_config(file: Path) -> dict[str, Any]:
    """What a JSON file says; nothing where it cannot be read, which is told when it is loaded."""
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _check_guidance(path: Path) -> None:
    """Refuse the one kind of model whose UNet is told the guidance scale, which we never do."""
    try:
        config = dict(json.loads((path / "unet" / "config.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return  # told when the part is loaded
    if config.get("time_cond_proj_dim") is not None:
        raise UnsupportedModel(
            "a UNet that is not told the guidance scale",
            f"{path}, a latent consistency model whose UNet is (time_cond_proj_dim)",
            "Apply LCM-LoRA to an SDXL model instead.",
        )


def _component(name: str) -> Any:
    if name == "unet":
        from diffusers import UNet2DConditionModel

        return UNet2DConditionModel
    if name == "vae":
        from diffusers import AutoencoderKL

        return AutoencoderKL
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Tell what goes wrong in reading a folder as an error of ours."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnsupportedModel(
            "a complete SDXL model in diffusers' layout",
            f"{folder} ({error})",
            "Fetch or copy the folder again.",
        ) from error


def variant(folder: Path) -> str | None:
    """`fp16` where the weights of a part are there in that variant only."""
    weights = list(folder.glob("*.safetensors"))
    return "fp16" if weights and all(".fp16" in path.name for path in weights) else None


def _check_index(folder: Path) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnsupportedModel(
            "an SDXL model in diffusers' layout, a folder with model_index.json",
            f"{folder} without it",
            "Give the folder that holds unet/, vae/ and the others, or a .safetensors file.",
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
