"""A LoRA file -> the changes to the weights.

Understood: names of kohya (with diffusers' or the original names of the UNet's parts), diffusers
(old, and of PEFT), LyCORIS and ComfyUI. A module's path is compared with its dots written as
underscores, since kohya's names have none. What the parts of a weight mean is in `lora_kinds`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import UnsupportedModel
from .header import read_header
from .lora_kinds import DOWN, MID, PARTS, UP, LoraKind, kind_of
from .original_names import original_name

#: How a tensor's name begins -> the component that it changes. diffusers once wrote the UNet's
#: names with nothing before them.
_PREFIXES = {
    "lora_unet_": "unet",
    "lycoris_": "unet",
    "unet.": "unet",
    "diffusion_model.": "unet",
    "lora_te1_": "text_encoder",
    "text_encoder.": "text_encoder",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "text_encoder_2.": "text_encoder_2",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
    "": "unet",
}
_TENSOR = re.compile(
    r"(?P<module>.+?)(?:[._]lora(?:_linear_layer)?[._](?P<factor>down|up|mid|A|B)(?:\.default)?"
    rf"(?:\.weight)?|\.(?P<part>{'|'.join(map(re.escape, sorted(PARTS)))})"
    r"|\.(?P<norm>[wb]_norm|diff_b))"
)
_FACTORS = {"down": DOWN, "A": DOWN, "up": UP, "B": UP, "mid": MID}

#: Trained by some, and of no effect: SDXL does not use the first text encoder's pooled text.
_UNUSED = ("text_encoder", "text_projection")


@dataclass(frozen=True, eq=False)
class Change:
    """The change to one weight, or bias.

    Attributes:
        kind: how it is made of its parts.
        parts: on the CPU in the file's dtype.
        alpha: by which some kinds are scaled; None where nothing is said.
    """

    kind: LoraKind
    parts: dict[str, torch.Tensor]
    alpha: float | None

    def on(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        """What to add to a weight.

        Args:
            weight: fp32, of the model without LoRAs.
            strength: the LoRA's weight.

        Raises:
            RuntimeError: the shapes do not fit.
        """
        parts = {name: part.to(weight) for name, part in self.parts.items()}
        return self.kind.change(parts, self.alpha, weight, strength)


#: Component -> name of a parameter in it -> the change to it.
Changes = dict[str, dict[str, Change]]


@dataclass
class _Group:
    """All tensors for one parameter: part -> its name in the file, and its values."""

    names: dict[str, str] = field(default_factory=dict)
    parts: dict[str, torch.Tensor] = field(default_factory=dict)


def read_lora(path: Path, components: Mapping[str, Any], *, skip_unknown: bool = False) -> Changes:
    """The changes in a file.

    Args:
        path: of a .safetensors file.
        components: `unet`, `text_encoder` and `text_encoder_2` that it is meant for.
        skip_unknown: leave out what cannot be applied, as long as something is left.

    Raises:
        UnsupportedModel: it is not a LoRA, or for another model; whatever of it could not be
            applied, however little, is a reason, if it is not left out by choice.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _refusal(path, f"which cannot be read ({error})") from error
    groups, strange = _group(tensors)
    alphas = _peft_alphas(header.metadata)
    names = {name: _parameters(name, module) for name, module in components.items()}
    changes: Changes = {}
    for (component, key, bias), group in groups.items():
        if (component, key) == _UNUSED:
            continue
        parameter = names[component].get((key, bias))
        if parameter is None:
            strange.append(f"another model: {next(iter(group.names.values()))} does not fit")
            continue
        found = kind_of(set(group.parts))
        if found is None:
            strange.append(f"incomplete: {', '.join(group.names.values())} alone")
            continue
        kind, left = found
        strange += [f"with {group.names[part]}, which {kind.name} has not" for part in sorted(left)]
        parts = {name: part for name, part in group.parts.items() if name not in left}
        alpha = parts.pop("alpha", None)
        module = parameter.rpartition(".")[0]
        change = Change(kind, parts, alphas(component, module) if alpha is None else float(alpha))
        if wrong := _misfit(change, components[component].get_parameter(parameter)):
            strange.append(f"of {wrong} for {component}'s {module}")
            continue
        changes.setdefault(component, {})[parameter] = change
    if strange and not (skip_unknown and changes):
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise _refusal(path, strange[0] + more)
    if not changes:
        raise _refusal(path, "without any change to a model")
    return changes


def _group(
    tensors: dict[str, torch.Tensor],
) -> tuple[dict[tuple[str, str, bool], _Group], list[str]]:
    """Component, module and whether its bias is meant -> the tensors; and what fits nowhere."""
    groups: dict[tuple[str, str, bool], _Group] = {}
    strange = []
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            strange.append(f"with {name}, which is not known")
            continue
        prefix = next(p for p in _PREFIXES if name.startswith(p))
        module = match["module"][len(prefix) :]
        bias = module.endswith(".bias") or match["norm"] in ("b_norm", "diff_b")
        key = module.removesuffix(".bias").replace(".", "_").replace("_processor_", "_")
        key = re.sub(r"to_out$", "to_out_0", key)
        part = _FACTORS[match["factor"]] if match["factor"] else match["part"] or "diff"
        if part == "oft_blocks" and tensor.ndim == 4:
            part = "boft_blocks"
        group = groups.setdefault((_PREFIXES[prefix], key, bias), _Group())
        group.names[part], group.parts[part] = name, tensor
    return groups, strange


def _parameters(component: str, module: Any) -> dict[tuple[str, bool], str]:
    """Name of a module in a file, and whether its bias is meant -> name of the parameter."""
    found: dict[tuple[str, bool], str] = {}
    for name, _ in module.named_parameters():
        path, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias"):
            continue
        for other in _names(component, path, module):
            found[other.replace(".", "_"), kind == "bias"] = name
    return found


def _names(component: str, path: str, module: Any) -> Iterator[str]:
    """The names that files have for a module."""
    yield path
    if component == "unet":
        layers = module.config.layers_per_block
        if isinstance(layers, int):  # else the original code has no such UNet
            yield original_name(path, layers)
    else:
        # Newer transformers name CLIPTextModel's parts without `text_model.`.
        yield f"text_model.{path}"


def _misfit(change: Change, weight: torch.Tensor) -> str | None:
    """What is wrong with the shapes, found without computing anything."""
    wanted = torch.empty(weight.shape, device="meta")
    try:
        given = change.on(wanted, 1.0).shape
    except (RuntimeError, ValueError, IndexError):
        shapes = (tuple(part.shape) for part in change.parts.values())
        return f"shapes {', '.join(map(str, shapes))}"
    return None if given == weight.shape else f"shape {tuple(given)}"


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
        "a LoRA made for SDXL",
        f"{path}, {found}",
        "Choose a LoRA that was trained on SDXL, or leave out what does not fit by skip_unknown.",
    )
