"""LoadSDXL: a name -> a model."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from ..core.errors import BatchSDXLError, ModelNotFound
from ..core.models.native_size import native_size
from ..core.models.spec import DEMO, DEMO_FOLDER, ModelSpec
from ..host import host
from ..host.types import MODEL, BatchNode, Inputs

if TYPE_CHECKING:
    from ..core.models.model import Model

OWN_VAE = "the model's own"

#: What `noise` offers -> what a spec says.
NOISES: dict[str, dict[str, Any]] = {
    "auto": {},
    "epsilon": {"prediction_type": "epsilon", "zero_terminal_snr": False},
    "v_prediction": {"prediction_type": "v_prediction", "zero_terminal_snr": False},
    "v_prediction, zero SNR": {"prediction_type": "v_prediction", "zero_terminal_snr": True},
}

#: Models that something still holds (ComfyUI's cache, its memory, or a model with LoRAs), by their
#: spec, where their weights lie and the content of their files. It keeps none itself, so that
#: ComfyUI can free them.
_loaded: WeakValueDictionary[Hashable, Model] = WeakValueDictionary()


class LoadSDXL(BatchNode):
    """Loads an SDXL model, the built-in one or one of the user's."""

    DESCRIPTION = (
        "Loads an SDXL model for Batch Generate. `demo` comes with the pack: it needs no download "
        "and no GPU, and draws coloured shapes of 128 x 128 pixels. Others are checkpoints "
        "(.safetensors) or diffusers folders."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["sdxl", "checkpoint", "diffusers", "load model"]
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    LOADS = "size"
    OUTPUT_TOOLTIPS = ("The model, for Batch Generate.",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "model_name": (
                    [DEMO, *host.current().model_names()],
                    {
                        "tooltip": "`demo` is built in; others are in ComfyUI's models/checkpoints "
                        "and models/diffusers."
                    },
                ),
                "dtype": (
                    ["auto", "fp32", "fp16", "bf16"],
                    {"tooltip": "Precision. auto: fp16 on a GPU, fp32 on a CPU."},
                ),
            },
            "optional": {
                "vae": (
                    [OWN_VAE, *host.current().file_names("vae")],
                    {"tooltip": "A VAE of ComfyUI's models/vae instead of the model's own."},
                ),
                "noise": (
                    list(NOISES),
                    {
                        "advanced": True,
                        "tooltip": "What the model predicts. auto: what it says of itself; choose "
                        "v_prediction where images of such a model come out as noise.",
                    },
                ),
                "offload": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Keep on the GPU only what is at work: slower, for GPUs of less "
                        "than 10 GB. The images are the same.",
                    },
                ),
                "compile": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Have torch compile the UNet: minutes once for each size of "
                        "images and length of prompts, then faster. Other bits than without. Pays "
                        "for many images of few sizes; not together with offload.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model_name: str | None, vae: str | None = None) -> bool:
        """Let paths pass that are not in the lists: headless there is no list to choose from."""
        return True

    @classmethod
    def IS_CHANGED(
        cls, model_name: str | None, vae: str | None = OWN_VAE, **other: Any
    ) -> str | float:
        """SHA-256 over all files that are read; NaN, always new, if not known yet.

        Gigabytes are read for it once, when a file is new. Its images' records need it too.
        """
        if model_name is None or vae is None:
            return float("nan")
        return _digest(_model_path(model_name), _vae_path(vae), _words())

    def size(self, model_name: str, **_others: Any) -> int:
        """Pixels across and down that the model was made for; it is not loaded for that."""
        return native_size(DEMO_FOLDER if model_name == DEMO else Path(_model_path(model_name)))

    def run(
        self,
        model_name: str,
        dtype: str,
        vae: str = OWN_VAE,
        noise: str = "auto",
        offload: bool = False,
        compile: bool = False,
    ) -> tuple[Model]:
        """Load it, unless somebody still has it."""
        from ..core.models.load import load_model

        path, vae_path, words = _model_path(model_name), _vae_path(vae), _words()
        place = host.current().placement()
        device, home = place.get("device"), place.get("home")
        spec = ModelSpec(
            model=str(path),
            dtype=place.get("dtype", dtype) if dtype == "auto" else dtype,
            device=None if device is None else str(device),
            vae=None if vae_path is None else str(vae_path),
            offload=offload,
            embeddings=tuple((name, str(file)) for name, file in words.items()),
            tokenizer_folders=tuple(map(str, host.current().tokenizer_folders())),
            compiled=compile,
            **NOISES[noise],
        )
        key = spec, home, _digest(path, vae_path, words)
        model = _loaded.get(key)
        if model is None:
            model = _loaded[key] = load_model(spec, home=home)
        return (model,)


def _model_path(name: str) -> str | Path:
    return DEMO if name == DEMO else host.current().model_path(name)


def _vae_path(name: str) -> Path | None:
    return None if name == OWN_VAE else host.current().file_path("vae", name)


def _words() -> dict[str, Path]:
    """Textual inversions, by the names that prompts call them."""
    files = host.current()
    return {
        Path(name).with_suffix("").as_posix(): files.file_path("embeddings", name)
        for name in files.file_names("embeddings")
    }


def _digest(model: str | Path, vae: Path | None, words: Mapping[str, Path]) -> str:
    """SHA-256 over all files."""
    from ..core.models.load import find_model

    with suppress(ModelNotFound):
        model = find_model(model)
    files = {"model": Path(model), **({"vae": vae} if vae else {}), **words}
    lines = [f"{name} {_digest_at(path)}" for name, path in files.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _digest_at(path: Path) -> str:
    """Of a file or folder; of none where `run` will tell what is wrong with it."""
    from ..core.models.digest import digest_file, digest_files
    from ..core.models.folder import DiffusersFolder, part_files

    with suppress(BatchSDXLError, OSError):
        if path.is_file():
            return digest_file(path)
        if (path / "model_index.json").is_file():
            folder = DiffusersFolder(path)
            return folder.contents(with_vae=folder.has_vae).files_digest
        return digest_files(path, part_files(path))
    return ""
