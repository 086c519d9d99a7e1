"""ModelFromComfyUI: MODEL, CLIP and VAE -> a model for Batch Generate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..host import host
from ..host.types import MODEL, BatchNode, Inputs

if TYPE_CHECKING:
    from ..core.engine.backend import Backend

#: Inputs of loaders that name a file, in ComfyUI and in packs for it.
_NAMES = ("ckpt_name", "unet_name", "gguf_name", "model_name", "model_path")

#: Inputs that a MODEL comes in by, where a node has several.
_LINKS = ("model", "model1", "basic_model")


class ModelFromComfyUI(BatchNode):
    """Has Batch Generate run a model of ComfyUI's own loaders."""

    DESCRIPTION = (
        "Has Batch Generate run a MODEL, CLIP and VAE of ComfyUI's own loaders, with all that is "
        "patched about them: LoRAs of every kind, merges, quantised weights, FreeU. Prompts go "
        "through its CLIP, pixels through its VAE. SDXL only."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "model to batch sdxl",
        "checkpoint to batch",
        "convert model",
        "sdxl",
    ]
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The model, for Batch Generate.",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "Of Load Checkpoint, or what patches a MODEL."}),
                "clip": ("CLIP", {"tooltip": "Of the same loader, or of Load LoRA after it."}),
                "vae": ("VAE", {"tooltip": "Of the same loader, or of Load VAE."}),
            },
            "optional": {
                "unpromised": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Run patches too that can't be told apart, or by which images "
                        "depend on each other. Otherwise they are refused by name. The files name "
                        "them; such images may not come out the same again.",
                    },
                ),
            },
            "hidden": {"prompt": "PROMPT", "unique_id": "UNIQUE_ID"},
        }

    def run(
        self,
        model: Any,
        clip: Any,
        vae: Any,
        unpromised: bool = False,
        prompt: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
    ) -> tuple[Backend]:
        """Take it as it is."""
        name = _name_in(prompt or {}, unique_id) or "a model of ComfyUI"
        return (host.current().own_model(model, clip, vae, name, unpromised=unpromised),)


def _name_in(graph: Mapping[str, Any], node_id: str | None) -> str:
    """The file that a node's model was loaded from, as the graph tells; empty if it does not."""
    seen: set[str] = set()
    while node_id is not None and node_id in graph and node_id not in seen:
        seen.add(node_id)
        inputs = graph[node_id].get("inputs", {})
        for name in _NAMES:
            if isinstance(inputs.get(name), str):
                return str(inputs[name])
        links = [inputs[name] for name in _LINKS if isinstance(inputs.get(name), list)]
        node_id = str(links[0][0]) if links else None
    return ""
