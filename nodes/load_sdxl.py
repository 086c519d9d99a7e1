"""LoadSDXL: a name -> a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from . import host
from .types import MODEL, Inputs, Node

if TYPE_CHECKING:
    from ..core.model import Model

DEMO = "demo"


class LoadSDXL(Node):
    """Loads an SDXL model, the built-in one or one of the user's."""

    DESCRIPTION = (
        "Loads an SDXL model for Batch Generate. `demo` comes with the pack: it needs no download "
        "and no GPU, and draws coloured shapes of 128 x 128 pixels."
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
                    {"tooltip": "`demo` is built in; others are in ComfyUI's models/diffusers."},
                ),
                "dtype": (
                    ["auto", "fp32", "fp16", "bf16"],
                    {"tooltip": "Precision. auto: fp16 on a GPU, fp32 on a CPU."},
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model_name: str | None) -> bool:
        """Let paths pass that are not in the list: headless there is no list to choose from."""
        return True

    def run(self, model_name: str, dtype: str) -> tuple[Model]:
        """Load it."""
        from ..core.model import load_model

        path = DEMO if model_name == DEMO else host.current().model_path(model_name)
        return (load_model(path, dtype=dtype),)
