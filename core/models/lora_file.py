"""A LoRA file -> factors of the changes to the weights.

Understood: kohya's names (with diffusers' or the original names of the UNet's parts) and
diffusers' names, old and of PEFT. A module's path is compared with its dots written as underscores,
since kohya's names have none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import UnsupportedModel
from .header import read_header
from .original_names import original_name

#: How a tensor's name begins -> the component that it changes.
_PREFIXES = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
}
_TENSOR = re.compile(
    r"(?P<module>.+?)(?:[._]lora(?:_linear_layer)?[._](?P<role>down|up|A|B)\.weight|\.(?P<alpha>alpha))"
)
_ROLES = {"down": "down", "A": "down", "up": "up", "B": "up"}

#: Parts of names by which other ways to change weights are known.
_OTHER_METHODS = (
    *("hada_", "lokr_", "oft_", "dora_scale", "lora_magnitude", "lora_mid", ".diff"),
    *(".w_norm", ".b_norm", ".on_input", ".a1.", ".set_weight"),
)


class Factors(NamedTuple):
    """The change `scale * up @ down` to one weight.

    Attributes:
        up: (O, R), on the CPU in the file's dtype.
        down: (R, I), likewise; for a convolution I is input channels times kernel.
        scale: alpha / rank.
    """

    up: torch.Tensor
    down: torch.Tensor
    scale: float


#: Component -> path of a module in it -> the change to its weight.
Changes = dict[str, dict[str, Factors]]


def read_lora(path: Path, components: Mapping[str, Any]) -> Changes:
    """The changes in a file.

    Args:
        path: of a .safetensors file.
        components: `unet`, `text_encoder` and `text_encoder_2` that it is meant for.

    Raises:
        UnsupportedModel: it is not a LoRA, one of another kind, or for another model; whatever of
            it could not be applied, however little, is a reason.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _refusal(path, f"which cannot be read ({error})") from error
    groups = _group(path, tensors)
    alphas = _peft_alphas(header.metadata)
    paths = {name: _paths(name, module) for name, module in components.items()}
    changes: Changes = {}
    for (component, key), parts in groups.items():
        module = paths[component].get(key)
        if module is None or not {"up", "down"} <= parts.keys():
            what = "another model" if module is None else "incomplete"
            raise _refusal(path, f"{what}: {component}'s {key} does not fit")
        factors = _factors(parts, alphas(component, module))
        wanted = components[component].get_submodule(module).weight.shape
        given = (len(factors.up), *factors.down.shape[1:])
        if given != (wanted[0], math.prod(wanted[1:])) or factors.up.shape[1] != len(factors.down):
            raise _refusal(path, f"of shape {given} for {component}'s {module} of {tuple(wanted)}")
        changes.setdefault(component, {})[module] = factors
    if not changes:
        raise _refusal(path, "without any change to a model")
    return changes


def _group(
    path: Path, tensors: dict[str, torch.Tensor]
) -> dict[tuple[str, str], dict[str, torch.Tensor]]:
    groups: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if any(part in name for part in _OTHER_METHODS):
            raise _refusal(path, f"of another kind ({name}); LoRA and LoCon are supported")
        match = _TENSOR.fullmatch(name)
        prefix = next((p for p in _PREFIXES if name.startswith(p)), None)
        if match is None or prefix is None:
            raise _refusal(path, f"with {name}, which SDXL has not")
        key = match["module"][len(prefix) :].replace(".", "_").replace("_processor_", "_")
        key = re.sub(r"to_out$", "to_out_0", key)
        role = "alpha" if match["alpha"] else _ROLES[match["role"]]
        groups.setdefault((_PREFIXES[prefix], key), {})[role] = tensor
    return groups


def _paths(component: str, module: Any) -> dict[str, str]:
    """Names in a file -> paths of modules whose weights can be changed."""
    found: dict[str, str] = {}
    for path, part in module.named_modules():
        if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
            if component == "unet":
                names = [path, original_name(path, module.config.layers_per_block)]
            else:
                # Newer transformers name CLIPTextModel's parts without `text_model.`.
                names = [path, f"text_model.{path}"]
            found |= {name.replace(".", "_"): path for name in names}
    return found


def _factors(parts: dict[str, torch.Tensor], alpha: float | None) -> Factors:
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    rank = len(down)
    if "alpha" in parts:
        alpha = float(parts["alpha"])
    return Factors(up, down, 1.0 if alpha is None else alpha / rank)


def _peft_alphas(metadata: Mapping[str, str]) -> Any:
    """Looks up alpha in the configuration of PEFT that diffusers keeps in the header."""
    config = json.loads(metadata.get("lora_adapter_metadata", "{}"))

    def look_up(component: str, module: str) -> float | None:
        for pattern, value in config.get(f"{component}.alpha_pattern", {}).items():
            if module == pattern or module.endswith(f".{pattern}"):
                return float(value)
        value = config.get(f"{component}.lora_alpha")
        return None if value is None else float(value)

    return look_up


def _refusal(path: Path, found: str) -> UnsupportedModel:
    return UnsupportedModel(
        "a LoRA made for SDXL", f"{path}, {found}", "Choose a LoRA that was trained on SDXL."
    )
