"""A folder in diffusers' layout -> components."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import UnsupportedModel
from . import config
from .contents import Contents
from .header import read_header
from .tokenizer import read_tokenizer
from .weights import NEEDLESS, Tensors, empty, fill, mismatch, plain_names, some, text_encoder

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

#: Weights of one part, whole or in pieces; others are of training or other programs.
WEIGHTS = re.compile(r"(diffusion_pytorch_)?model(\.fp16)?(-\d+-of-\d+)?(\.fp16)?\.safetensors")
PIECE = re.compile(r"-\d+-of-\d+")

#: What older versions of diffusers called parts of the VAE's attention.
_OLD_ATTENTION = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


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
        self._skeletons: dict[str, Any] = {}

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
        module = self.skeleton(name)
        del self._skeletons[name]  # it is about to be more than that
        return _filled(module, self._path / name, name, device, dtype)

    def skeleton(self, name: str) -> Any:
        """A component without its weights, on torch's `meta` device.

        Raises:
            UnsupportedModel: it is not there, or its weights are not those of its configuration.
        """
        if name not in self._skeletons:
            self._skeletons[name] = _planned(self._path / name, name)
        return self._skeletons[name]

    def load_tokenizers(self) -> tuple[Any, Any]:
        """Of CLIP ViT-L and of OpenCLIP bigG.

        Raises:
            UnsupportedModel: they are not there, or damaged.
        """
        first, second = (
            read_tokenizer(self._path / name, number)
            for number, name in enumerate(("tokenizer", "tokenizer_2"))
        )
        return first, second

    @property
    def zeros_for_empty_prompt(self) -> bool:
        """As its index says; True where it says nothing, as in diffusers."""
        index = peek(self._path / "model_index.json")
        return index.get("force_zeros_for_empty_prompt", True) is not False

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """What the scheduler that the model was stored with says of its noise.

        Raises:
            UnsupportedModel: it is not there, or damaged.
        """
        file = self._path / "scheduler" / "scheduler_config.json"
        said = config.read_config(file, config.SCHEDULER)
        config.check_noise(said, file)
        return said

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
    return _filled(_planned(folder, name), folder, name, device, dtype)


def _filled(module: Any, folder: Path, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError, safe_open

    tensors: Tensors = {}
    with _reading(folder):
        try:
            for path in _weights(folder):
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118
                        tensors[key] = file.get_tensor(key).to(device, dtype)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return fill(module, _renamed(name, module, tensors), device, dtype)


def upcasts(folder: Path) -> bool:
    """Whether the VAE in a folder says that it overflows in fp16; so do those that say nothing."""
    return bool(config.read_config(folder / "config.json", config.VAE).get("force_upcast", True))


def part_files(folder: Path) -> list[Path]:
    """The files that a part is loaded from."""
    half = variant(folder) is not None
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".txt")
        or (path.suffix == ".safetensors" and (".fp16" in path.name) == half)
    ]


def variant(folder: Path) -> str | None:
    """`fp16` where the weights of a part are there in that variant only."""
    weights = list(folder.glob("*.safetensors"))
    return "fp16" if weights and all(".fp16" in path.name for path in weights) else None


def peek(file: Path) -> dict[str, Any]:
    """What a JSON file says; nothing where it cannot be read, which is told when it is loaded."""
    try:
        return config.read_json(file)
    except UnsupportedModel:
        return {}


def _planned(folder: Path, name: str) -> Any:
    """A component on `meta` whose names and shapes are those of the weights that are there."""
    module = _built(folder / "config.json", name)
    shapes = {
        key: shape for path in _weights(folder) for key, shape in read_header(path).shapes.items()
    }
    given = _renamed(
        name, module, {key: torch.empty(s, device="meta") for key, s in shapes.items()}
    )
    found = mismatch(module, given)
    unknown = sorted(given.keys() - module.state_dict().keys())
    if not found and name == "unet" and unknown:
        # They would be left out in silence, and the images be wrong.
        found = f"with {some(unknown)}, which its configuration has not"
    if found:
        raise _refusal(folder, found)
    return module


def _built(file: Path, name: str) -> Any:
    rules = {"unet": config.UNET, "vae": config.VAE}.get(name, config.TEXT)
    said = config.read_config(file, rules)
    if rules is config.TEXT:
        return empty(lambda: text_encoder(said, projected=name == "text_encoder_2"), file)
    from diffusers import AutoencoderKL, UNet2DConditionModel

    make = UNet2DConditionModel if name == "unet" else AutoencoderKL
    return empty(lambda: make(**said), file)


def _weights(folder: Path) -> list[Path]:
    """The files with the weights of a part: one, or all pieces."""
    half = variant(folder) is not None
    files = [
        path
        for path in sorted(folder.glob("*.safetensors"))
        if WEIGHTS.fullmatch(path.name) and (".fp16" in path.name) == half
    ]
    if not files:
        raise _refusal(folder, "no weights in .safetensors")
    return [path for path in files if not PIECE.search(path.name)] or files


def _renamed(name: str, module: Any, tensors: Tensors) -> Tensors:
    """Tensors under the names that the module has for them, without what nothing needs."""
    needed = {key: tensor for key, tensor in tensors.items() if not key.endswith(NEEDLESS)}
    if name == "vae":
        for old, new in _OLD_ATTENTION.items():
            needed = {key.replace(old, new): tensor for key, tensor in needed.items()}
    return plain_names(module, needed) if name.startswith("text_encoder") else needed


def _check_kind(folder: Path) -> None:
    """Refuse relatives of SDXL, which have pipelines of its name too."""
    index, unet, scheduler = (
        peek(folder / name)
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


def _check_guidance(path: Path) -> None:
    """Refuse the one kind of model whose UNet is told the guidance scale, which we never do."""
    if peek(path / "unet" / "config.json").get("time_cond_proj_dim") is not None:
        raise UnsupportedModel(
            "a UNet that is not told the guidance scale",
            f"{path}, a latent consistency model whose UNet is (time_cond_proj_dim)",
            "Apply LCM-LoRA to an SDXL model instead.",
        )


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Tell what goes wrong in reading a folder as an error of ours."""
    try:
        yield
    except OSError as error:
        raise _refusal(folder, str(error)) from error


def _refusal(folder: Path, found: str) -> UnsupportedModel:
    return UnsupportedModel(
        "a complete SDXL model in diffusers' layout",
        f"{folder} ({found})",
        "Fetch or copy the folder again.",
    )


def _check_index(folder: Path) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnsupportedModel(
            "an SDXL model in diffusers' layout, a folder with model_index.json",
            f"{folder} without it",
            "Give the folder that holds unet/, vae/ and the others, or a .safetensors file.",
        )
    kind = peek(index).get("_class_name", "one that cannot be read")
    if not str(kind).startswith("StableDiffusionXL"):
        raise UnsupportedModel(
            "a model_index.json of StableDiffusionXLPipeline",
            f"{kind} in {index}",
            "Use an SDXL model; other families are not supported.",
        )
