"""ApplyLora: a model -> the model with a LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import UnsupportedModel
from ..core.models.spec import LoraSpec
from ..host import host
from ..host.types import MODEL, BatchNode, Inputs

if TYPE_CHECKING:
    from ..core.engine.backend import Backend
    from ..core.models.model import Model


class ApplyLora(BatchNode):
    """Applies a LoRA to a model, which itself stays as it is."""

    DESCRIPTION = (
        "Applies a LoRA that was made for SDXL. Chain several for several LoRAs: they add up, "
        "whatever their order. The model that comes in stays as it is."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["lora", "load lora", "lycoris"]
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The model with the LoRA, for Batch Generate or another Apply LoRA.",)
    NEEDS = "find"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        strength = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01, "round": 0.001}
        return {
            "required": {
                "model": (MODEL, {"tooltip": "Of Load SDXL or another Apply LoRA."}),
                "lora_name": (
                    host.current().file_names("loras"),
                    {"tooltip": "A .safetensors file in ComfyUI's models/loras."},
                ),
                "strength_model": (
                    "FLOAT",
                    {
                        **strength,
                        "tooltip": "Factor of its changes to the UNet. 0 is off, negative numbers "
                        "turn it round.",
                    },
                ),
                "strength_clip": (
                    "FLOAT",
                    {**strength, "tooltip": "Factor of its changes to the text encoders."},
                ),
            },
            "optional": {
                "skip_unknown": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Leave out what of the file does not fit SDXL, as ComfyUI does. "
                        "Otherwise it is refused, and what does not fit is named.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, lora_name: str | None) -> bool:
        """Let paths pass that are not in the list: headless there is no list to choose from."""
        return True

    @classmethod
    def IS_CHANGED(cls, lora_name: str | None, **other: Any) -> str:
        """SHA-256 of the file."""
        from ..core.models.digest import digest_file

        path = None if lora_name is None else host.current().file_path("loras", lora_name)
        return digest_file(path) if path and path.is_file() else ""

    def find(self, lora_name: str, **_others: Any) -> Path:
        """The file; it is refused here if there is none."""
        path = host.current().file_path("loras", lora_name)
        LoraSpec(str(path)).check_file()
        return path

    def run(
        self,
        model: Model | Backend,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        skip_unknown: bool = False,
    ) -> tuple[Model]:
        """Apply it."""
        from ..core.models.lora import apply_lora
        from ..core.models.model import Model

        if not isinstance(model, Model):
            raise UnsupportedModel(
                "a model of Load SDXL or Apply LoRA",
                "one of Model From ComfyUI",
                "Put ComfyUI's own Load LoRA in front of that.",
            )
        path = self.find(lora_name)
        return (apply_lora(model, path, strength_model, strength_clip, skip_unknown=skip_unknown),)
