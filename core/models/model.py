"""A name -> an SDXL model on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..engine.memory import telling
from ..errors import InvalidRequest, ModelNotFound, UnsupportedModel
from ..packages import check_packages
from ..request.image_request import PIXELS_PER_LATENT
from .checkpoint import Checkpoint
from .contents import Contents
from .folder import DiffusersFolder
from .hub import fetch_model, find_cached, is_name
from .tokenizer import CLIP_VOCABULARY, digest_vocabulary, load_tokenizers
from .vae import load_own_vae, vae_dtype

if TYPE_CHECKING:
    from .inversion import TextualInversion
    from .lora import Lora

#: The name of the model that comes with the pack.
DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "demo_model"

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: What the UNet's output is taken for.
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of an SDXL model that runs on one device.

    Attributes:
        name: as it was asked for, without the folders above it; on the hub, with its owner.
        contents: what it was made of.
        unet: a diffusers UNet2DConditionModel in `dtype`.
        vae: a diffusers AutoencoderKL; in fp32 where it overflows in `dtype`.
        tokenizers: of CLIP ViT-L and of OpenCLIP bigG.
        text_encoders: CLIPTextModel and CLIPTextModelWithProjection in `dtype`.
        scheduler_config: of the scheduler that the model was stored with.
        device: that all parts run on, wherever they lie in between.
        dtype: of UNet and text encoders.
        loras: that are applied, in the order of their digests.
        base: the model without them, None if there are none.
        given_vae: name and SHA-256 of a VAE in place of the model's own, None for that.
        noise: `prediction_type` and `zero_terminal_snr` of `load_model` where they differ from what
            the model says of itself.
        inversions: textual inversions that prompts may call, by name.
        offload: whether each part is moved to the device when it is called, from the CPU.
    """

    name: str
    contents: Contents
    unet: Any
    vae: Any
    tokenizers: tuple[Any, Any]
    text_encoders: tuple[Any, Any]
    scheduler_config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    loras: tuple[Lora, ...] = ()
    base: Model | None = None
    given_vae: tuple[str, str] | None = None
    noise: Mapping[str, Any] = field(default_factory=dict)
    inversions: Mapping[str, TextualInversion] = field(default_factory=dict)
    offload: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the model's content: of all weights and configurations that were loaded."""
        return self.contents.digest

    @property
    def native_size(self) -> int:
        """Width and height in pixels that the model was made for."""
        return int(self.unet.config.sample_size) * PIXELS_PER_LATENT


@telling(
    "enough memory for the model's weights",
    "Load it with `offload` where that is off, choose fp16 or bf16, or close what else uses it.",
)
def load_model(
    name_or_path: str | Path = DEMO,
    *,
    device: str | torch.device | None = None,
    home: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
    vae: str | Path | None = None,
    prediction_type: str | None = None,
    zero_terminal_snr: bool | None = None,
    tokenizer_folders: Sequence[Path] = (),
    offload: bool = False,
) -> Model:
    """Load an SDXL model from this machine, or by its name on the Hugging Face hub.

    Nothing goes over the network but for such a name that is not in this machine's Hugging Face
    cache, and for CLIP's tokenizer if a file has none and no folder either. `HF_HUB_OFFLINE=1` in
    the environment forbids both.

    Args:
        name_or_path: `demo` for the built-in model; a .safetensors file in SDXL's original layout;
            a folder in diffusers' layout; or the name of one on the Hugging Face hub, such as
            `stabilityai/stable-diffusion-xl-base-1.0`.
        device: that it runs on. None chooses CUDA where there is one, else the CPU.
        home: where its weights lie until the program that runs it moves them to the device; None
            for the device itself.
        dtype: `fp32`, `fp16`, `bf16` or a torch dtype. `auto` is fp16 on CUDA, in which SDXL's
            weights are published and which has three bits more than bf16; elsewhere fp32, since
            few CPUs compute in half precision.
        vae: a VAE to use instead of the model's own: a .safetensors file or a diffusers folder.
        prediction_type: `epsilon` or `v_prediction`; None for what the model says of itself.
        zero_terminal_snr: whether its noise reaches a signal of zero; None as prediction_type.
        tokenizer_folders: where else to look for CLIP's tokenizer if a file has none beside it.
        offload: keep the parts on the CPU, but for the one at work: slower, for small GPUs.

    Raises:
        ModelNotFound: there is no such model, no such VAE, or no tokenizer for it.
        UnsupportedModel: it is not an SDXL model, or a damaged one.
        InvalidRequest: the dtype or the prediction type is unknown.
        MissingPackage: diffusers, or a package beside it, is not there or too old.
        OutOfMemory: there is not enough for the weights.
    """
    check_packages()
    device = torch.device(device) if device else default_device()
    dtype = _dtype(dtype, device)
    path = find_model(name_or_path, download_as=dtype)
    home = torch.device("cpu" if offload else home or device)
    source = open_model(path)
    if vae is None and not source.has_vae:
        raise UnsupportedModel("a model with a VAE", f"{path} without", "Give one as vae.")
    if isinstance(source, Checkpoint):
        tokenizers = load_tokenizers(path.parent, tokenizer_folders)
    else:
        tokenizers = source.load_tokenizers()
    config = source.scheduler_config
    settings = _noise_settings(config, prediction_type, zero_terminal_snr)
    noise: dict[str, Any] = {}
    if "prediction_type" in settings:
        noise["prediction_type"] = prediction_type
    if settings.keys() - noise.keys():
        noise["zero_terminal_snr"] = zero_terminal_snr
    given_vae: tuple[str, str] | None = None
    changes = [f"{key} {value}" for key, value in settings.items()]
    if vae is None:
        own_vae = source.load("vae", home, vae_dtype(source.vae_upcasts, dtype))
    else:
        own_vae, digest = load_own_vae(Path(vae), home, dtype)
        changes.append(f"vae {digest}")
        given_vae = Path(vae).name, digest
    if isinstance(source, Checkpoint) and digest_vocabulary(tokenizers[0]) != CLIP_VOCABULARY:
        changes.append(f"vocabulary {digest_vocabulary(tokenizers[0])}")
    return Model(
        name=_name(name_or_path),
        contents=source.contents(with_vae=vae is None).changed(*changes),
        unet=source.load("unet", home, dtype),
        vae=own_vae,
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
        offload=offload,
    )


def find_model(name_or_path: str | Path, *, download_as: torch.dtype | None = None) -> Path:
    """The file or folder that a name stands for.

    Args:
        name_or_path: as `load_model` takes it.
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


def _name(name_or_path: str | Path) -> str:
    """Without the folders above it; of the hub, with its owner."""
    path = Path(name_or_path)
    return path.name if path.exists() or not is_name(path.as_posix()) else path.as_posix()


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


def _noise_settings(
    config: dict[str, Any], prediction_type: str | None, zero_terminal_snr: bool | None
) -> dict[str, Any]:
    """What is asked for of the noise that the model's own configuration does not say."""
    if prediction_type not in (None, *PREDICTION_TYPES):
        raise InvalidRequest(
            "a prediction type", repr(prediction_type), f"Choose one of {PREDICTION_TYPES}."
        )
    asked: dict[str, Any] = {}
    if prediction_type is not None:
        asked["prediction_type"] = prediction_type
    if zero_terminal_snr is not None:
        asked["rescale_betas_zero_snr"] = zero_terminal_snr
        if zero_terminal_snr:
            asked["timestep_spacing"] = "trailing"
    defaults = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    return {k: v for k, v in asked.items() if config.get(k, defaults.get(k)) != v}


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return auto_dtype(device)[0]
    if dtype not in DTYPES:
        raise InvalidRequest("a dtype", repr(dtype), f"Choose one of auto, {', '.join(DTYPES)}.")
    return DTYPES[dtype]
