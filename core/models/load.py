"""A spec, or a name -> an SDXL model on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..collector import collecting_later
from ..errors import InvalidRequest, ModelNotFound, UnsupportedModel
from ..out_of_memory import OFFLOAD, telling
from ..packages import check_packages
from .checkpoint import Checkpoint
from .compiled import check_compiler
from .folder import DiffusersFolder
from .hub import fetch_model, find_cached, is_name
from .inversion import with_inversions
from .lora import apply_lora
from .model import Model
from .spec import DEMO, DEMO_FOLDER, DTYPES, ModelSpec
from .tokenizer import CLIP_VOCABULARY, check_tokenizers, digest_vocabulary
from .tokenizer_files import load_tokenizers
from .vae import load_own_vae, vae_dtype


@telling(
    "enough memory for the model's weights",
    "Load it with `offload` where that is off, choose fp16 or bf16, or close what else uses it.",
    (OFFLOAD,),
)
@collecting_later()
def load_model(
    spec: ModelSpec | str | Path = DEMO,
    *,
    home: str | torch.device | None = None,
    **changes: Any,
) -> Model:
    """Load an SDXL model from this machine, or by its name on the Hugging Face hub.

    Nothing goes over the network but for such a name that is not in this machine's Hugging Face
    cache, and for CLIP's tokenizer if a file has none and no folder either. `HF_HUB_OFFLINE=1` in
    the environment forbids both.

    Args:
        spec: of a model, or the name or path of one alone. The spec of a model that was loaded
            makes it again, LoRAs included.
        home: where its weights lie until the program that runs it moves them to the device; None
            for the device itself; `meta` for nowhere, where it is to be described only.
        **changes: attributes of `ModelSpec`, in place of the spec's: `dtype="bf16"`, `vae=path`. A
            dtype and a device may be torch's own. A dtype of `auto` is fp16 on CUDA, in which
            SDXL's weights are published and which has three bits more than bf16; elsewhere fp32,
            since few CPUs compute in half precision.

    Returns:
        The model, whose own spec has absolute paths, the dtype and the device in place of `auto`.

    Raises:
        ModelNotFound: there is no such model, VAE, LoRA, or no tokenizer for it.
        UnsupportedModel: it is not an SDXL model, or a damaged one.
        InvalidRequest: a value of the spec is not of its kind.
        MissingPackage: diffusers, or a package beside it, is not there or too old; or what compiles
            is not there.
        OutOfMemory: there is not enough for the weights.
    """
    check_packages()
    asked = spec if isinstance(spec, ModelSpec) else ModelSpec(model=_plain("model", spec))
    asked = replace(asked, **{name: _plain(name, value) for name, value in changes.items()})
    device = _device(asked.device)
    dtype = auto_dtype(device)[0] if asked.dtype == "auto" else torch_dtype(asked.dtype)
    if asked.compiled and str(home) != "meta":
        check_compiler(device)
    path = find_model(asked.model, download_as=dtype)
    model = _load(path, _settled(asked, device, dtype), home)
    if asked.embeddings:
        model = with_inversions(model, {name: Path(file) for name, file in asked.embeddings})
    for lora in asked.loras:
        model = apply_lora(
            model, lora.path, lora.weight, lora.text_weight, skip_unknown=lora.skip_unknown
        )
    return model


def find_model(name_or_path: str | Path, *, download_as: torch.dtype | None = None) -> Path:
    """The file or folder that a name stands for.

    Args:
        name_or_path: as `ModelSpec.model`.
        download_as: the dtype for which to download a model of the hub that is not in the cache;
            None downloads nothing.

    Raises:
        ModelNotFound: there is none.
        UnsupportedModel: one of that name is on the hub, but is not an SDXL model.
    """
    if str(name_or_path) == DEMO:
        return DEMO_FOLDER
    path = Path(name_or_path)
    if path.exists():
        return path
    name = path.as_posix()
    if is_name(name):
        cached = find_cached(name)
        if cached is not None:
            return cached
        if download_as is not None:
            return fetch_model(name, half=download_as == torch.float16)
    raise ModelNotFound(
        f"`{DEMO}`, a .safetensors file or a folder with an SDXL model",
        f"{path}, which is not on this machine",
        "Check the name.",
    )


def open_model(path: Path) -> Checkpoint | DiffusersFolder:
    """A model's file or folder, of which no weights are read yet.

    Raises:
        UnsupportedModel: it is not an SDXL model, or not a whole one.
    """
    return DiffusersFolder(path) if path.is_dir() else Checkpoint(path)


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def auto_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The precision that `auto` takes on a device, and why."""
    if device.type == "cuda":
        return (
            torch.float16,
            "SDXL's weights are published in fp16, which has three bits more than bf16",
        )
    return torch.float32, "few CPUs compute in half precision"


def torch_dtype(word: str) -> torch.dtype:
    """The precision that `fp32`, `fp16` or `bf16` stands for."""
    dtype: torch.dtype = getattr(torch, DTYPES[word])
    return dtype


def dtype_word(dtype: torch.dtype) -> str:
    """The word for a precision; torch's own where there is none."""
    own = str(dtype).removeprefix("torch.")
    return next((word for word, name in DTYPES.items() if name == own), own)


def _load(path: Path, spec: ModelSpec, home: str | torch.device | None) -> Model:
    """The model of a spec without its LoRAs and embeddings, from the file or folder it names."""
    device, dtype = torch.device(str(spec.device)), torch_dtype(spec.dtype)
    home = torch.device("cpu" if spec.offload and home != "meta" else home or device)
    source = open_model(path)
    if spec.vae is None and not source.has_vae:
        raise UnsupportedModel("a model with a VAE", f"{path} without", "Give one as vae.")
    if isinstance(source, Checkpoint):
        tokenizers = load_tokenizers(path.parent, [Path(f) for f in spec.tokenizer_folders])
    else:
        tokenizers = source.load_tokenizers()
    check_tokenizers(*tokenizers, path)
    config = source.scheduler_config
    for name in ("unet", "text_encoder", "text_encoder_2"):
        source.skeleton(name)  # what is wrong with one is told before any weights are read
    settings = _noise_settings(config, spec)
    noise: dict[str, Any] = {}
    if "prediction_type" in settings:
        noise["prediction_type"] = spec.prediction_type
    if settings.keys() - noise.keys():
        noise["zero_terminal_snr"] = spec.zero_terminal_snr
    given_vae: tuple[str, str] | None = None
    changes = [f"{key} {value}" for key, value in settings.items()]
    if spec.vae is None:
        vae = source.load("vae", home, vae_dtype(source.vae_upcasts, dtype))
    else:
        vae, digest = load_own_vae(Path(spec.vae), home, dtype)
        changes.append(f"vae {digest}")
        given_vae = Path(spec.vae).name, digest
    if isinstance(source, Checkpoint) and digest_vocabulary(tokenizers[0]) != CLIP_VOCABULARY:
        changes.append(f"vocabulary {digest_vocabulary(tokenizers[0])}")
    return Model(
        name=_name(spec.model),
        spec=spec,
        contents=source.contents(with_vae=spec.vae is None).changed(*changes),
        unet=source.load("unet", home, dtype),
        vae=vae,
        tokenizers=tokenizers,
        text_encoders=(
            source.load("text_encoder", home, dtype),
            source.load("text_encoder_2", home, dtype),
        ),
        scheduler_config=config | settings,
        device=device,
        dtype=dtype,
        given_vae=given_vae,
        noise=noise,
        offload=spec.offload,
        zeros_for_empty_prompt=source.zeros_for_empty_prompt,
    )


def _plain(name: str, value: object) -> Any:
    """What Python has for it besides -> a spec's own."""
    if name == "dtype" and isinstance(value, torch.dtype):
        return dtype_word(value)
    return str(value) if isinstance(value, torch.device | Path) else value


def _settled(spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> ModelSpec:
    """The same in any folder, without what LoRAs and embeddings add when they are there."""
    is_path = spec.model != DEMO and Path(spec.model).exists()
    return replace(
        spec,
        model=_absolute(spec.model) if is_path else spec.model,
        dtype=dtype_word(dtype),
        device=str(device),
        vae=None if spec.vae is None else _absolute(spec.vae),
        loras=(),
        embeddings=(),
        tokenizer_folders=tuple(map(_absolute, spec.tokenizer_folders)),
    )


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _name(name_or_path: str) -> str:
    """Without the folders above it; of the hub, with its owner."""
    path = Path(name_or_path)
    return path.name if path.exists() or not is_name(path.as_posix()) else path.as_posix()


def _device(name: str | None) -> torch.device:
    try:
        return default_device() if name is None else torch.device(name)
    except RuntimeError as error:
        raise InvalidRequest(
            "a device as torch calls it", repr(name), "Choose for example cpu or cuda:0."
        ) from error


def _noise_settings(config: dict[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """What is asked for of the noise that the model's own configuration does not say."""
    asked: dict[str, Any] = {}
    if spec.prediction_type is not None:
        asked["prediction_type"] = spec.prediction_type
    if spec.zero_terminal_snr is not None:
        asked["rescale_betas_zero_snr"] = spec.zero_terminal_snr
        if spec.zero_terminal_snr:
            asked["timestep_spacing"] = "trailing"
    defaults = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    return {k: v for k, v in asked.items() if config.get(k, defaults.get(k)) != v}
