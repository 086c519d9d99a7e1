"""LoadSDXL: a name -> a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from . import host
from .types import MODEL, Inputs, Node

if TYPE_CHECKING:
    from ..core.models.model import Model

DEMO = "demo"
OWN_VAE = "the model's own"

#: What `noise` offers -> what `load_model` is told.
NOISES: dict[str, dict[str, Any]] = {
    "auto": {},
    "epsilon": {"prediction_type": "epsilon", "zero_terminal_snr": False},
    "v_prediction": {"prediction_type": "v_prediction", "zero_terminal_snr": False},
    "v_prediction, zero SNR": {"prediction_type": "v_prediction", "zero_terminal_snr": True},
}


class LoadSDXL(Node):
    """Loads an SDXL model, the built-in one or one of the user's."""

    DESCRIPTION = (
        "Loads an SDXL model for Batch Generate. `demo` comes with the pack: it needs no download "
        "and no GPU, and draws coloured shapes of 128 x 128 pixels. Others are checkpoints "
        "(.safetensors) or diffusers folders."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["sdxl", "checkpoint", "diffusers", "load model"]
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
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
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model_name: str | None, vae: str | None = None) -> bool:
        """Let paths pass that are not in the lists: headless there is no list to choose from."""
        return True

    def run(
        self,
        model_name: str,
        dtype: str,
        vae: str = OWN_VAE,
        noise: str = "auto",
        offload: bool = False,
    ) -> tuple[Model]:
        """Load it."""
        from ..core.models.model import load_model

        files = host.current()
        model = load_model(
            DEMO if model_name == DEMO else files.model_path(model_name),
            dtype=dtype,
            vae=None if vae == OWN_VAE else files.file_path("vae", vae),
            tokenizer_folders=files.tokenizer_folders(),
            offload=offload,
            **NOISES[noise],
        )
        return (model,)
