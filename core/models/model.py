"""A name -> an SDXL model on a device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InvalidRequest, ModelNotFound, UnsupportedModel
from ..request import PIXELS_PER_LATENT
from .checkpoint import Checkpoint
from .contents import Contents
from .folder import DiffusersFolder
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
    """The parts of an SDXL model on one device, ready to be called.

    Attributes:
        name: as it was asked for, without the folders above it.
        contents: what it was made of.
        unet: a diffusers UNet2DConditionModel in `dtype`.
        vae: a diffusers AutoencoderKL; in fp32 where it overflows in `dtype`.
        tokenizers: of CLIP ViT-L and of OpenCLIP bigG.
        text_encoders: CLIPTextModel and CLIPTextModelWithProjection in `dtype`.
        scheduler_config: of the scheduler that the model was stored with.
        device: that all parts run on.
        dtype: of UNet and text encoders.
        loras: that are applied, in the order of their digests.
        base: the model without them, None if there are none.
        inversions: textual inversions that prompts may call, by name.
        offload: whether the parts lie on the CPU and are moved to the device when called.
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


def load_model(
    name_or_path: str | Path = DEMO,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
    vae: str | Path | None = None,
    prediction_type: str | None = None,
    zero_terminal_snr: bool | None = None,
    tokenizer_folders: Sequence[Path] = (),
    offload: bool = False,
) -> Model:
    """Load an SDXL model from this machine; nothing is downloaded.

    Args:
        name_or_path: `demo` for the built-in model; a .safetensors file in SDXL's original layout;
            a folder in diffusers' layout; or the name of one in the Hugging Face cache, such as
            `stabilityai/stable-diffusion-xl-base-1.0`.
        device: None chooses CUDA where there is one, else the CPU.
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
    """
    path = _find(name_or_path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _dtype(dtype, device)
    home = torch.device("cpu") if offload else device
    source = DiffusersFolder(path) if path.is_dir() else Checkpoint(path)
    if vae is None and not source.has_vae:
        raise UnsupportedModel("a model with a VAE", f"{path} without", "Give one as vae.")
    if isinstance(source, Checkpoint):
        tokenizers = load_tokenizers(path.parent, tokenizer_folders)
    else:
        tokenizers = source.load_tokenizers()
    config = source.scheduler_config
    settings = _noise_settings(config, prediction_type, zero_terminal_snr)
    changes = [f"{key} {value}" for key, value in settings.items()]
    if vae is None:
        own_vae = source.load("vae", home, vae_dtype(source.vae_upcasts, dtype))
    else:
        own_vae, digest = load_own_vae(Path(vae), home, dtype)
        changes.append(f"vae {digest}")
    if isinstance(source, Checkpoint) and digest_vocabulary(tokenizers[0]) != CLIP_VOCABULARY:
        changes.append(f"vocabulary {digest_vocabulary(tokenizers[0])}")
    return Model(
        name=Path(name_or_path).name,
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
        offload=offload,
    )


def _find(name_or_path: str | Path) -> Path:
    """The file or folder that a name stands for."""
    if str(name_or_path) == DEMO:
        return DEMO_FOLDER
    path = Path(name_or_path)
    if path.exists():
        return path
    cached = _cached(str(name_or_path))
    if cached is not None:
        return cached
    raise ModelNotFound(
        f"`{DEMO}`, a .safetensors file or a folder with an SDXL model",
        f"{path}, which does not exist",
        "Check the name; models are never downloaded.",
    )


def _cached(name: str) -> Path | None:
    """The folder of a Hugging Face repository in this machine's cache."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None


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
        return torch.float16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise InvalidRequest("a dtype", repr(dtype), f"Choose one of auto, {', '.join(DTYPES)}.")
    return DTYPES[dtype]
