"""LoRAs: changes of low rank to a model's weights (arXiv:2106.09685)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ..pinning import pinned
from .contents import Contents
from .lora_file import Change, read_lora
from .model import Lora, Model
from .spec import LoraSpec


def apply_lora(
    model: Model,
    path: str | Path,
    weight: float = 1.0,
    text_weight: float | None = None,
    *,
    skip_unknown: bool = False,
) -> Model:
    """A model with a LoRA, beside the given one, which stays as it is.

    Touched weights are copied, all others shared. Several LoRAs are added up in fp32, always in the
    same order. Each change is that to the untouched weight, also of kinds that depend on it (DoRA,
    OFT, GLoRA, whole weights): the order of application makes no difference.

    Args:
        model: with or without other LoRAs.
        path: of a .safetensors file.
        weight: factor of the changes to the UNet; may be negative.
        text_weight: of those to the text encoders; None for the same.
        skip_unknown: leave out what of the file cannot be applied, instead of refusing the file.

    Raises:
        ModelNotFound: there is no such file.
        UnsupportedModel: it is not a LoRA for SDXL, or something of it cannot be applied.
        InvalidRequest: a weight is not a finite number.
    """
    LoraSpec(str(path), weight, text_weight).check_file()
    path = Path(path)
    text_weight = weight if text_weight is None else text_weight
    base = model.base or model
    changes = read_lora(path, _components(base), skip_unknown=skip_unknown)
    # A factor of nothing is no part of the model's identity.
    on_unet = float(weight) if "unet" in changes else 0.0
    on_text = float(text_weight) if changes.keys() - {"unet"} else 0.0
    if not on_unet and not on_text:
        return model
    digest = Contents(path, (path,)).digest
    lora = Lora(path.stem, str(path.absolute()), digest, on_unet, on_text, changes, skip_unknown)
    return _with_loras(base, sorted((*model.loras, lora), key=_order))


def _order(lora: Lora) -> tuple[str, float, float]:
    return lora.digest, lora.weight, lora.text_weight


def _components(model: Model) -> dict[str, Any]:
    first, second = model.text_encoders
    return {"unet": model.unet, "text_encoder": first, "text_encoder_2": second}


@torch.inference_mode()
def _with_loras(base: Model, loras: Sequence[Lora]) -> Model:
    changed = {
        name: _changed(
            module,
            [
                (lora.weight if name == "unet" else lora.text_weight, lora.changes[name])
                for lora in loras
                if name in lora.changes
            ],
            base.device,
        )
        for name, module in _components(base).items()
    }
    specs = [LoraSpec(one.path, one.weight, one.text_weight, one.skip_unknown) for one in loras]
    lines = [f"lora {lora.digest} {lora.weight!r} {lora.text_weight!r}" for lora in loras]
    return replace(
        base,
        spec=replace(base.spec, loras=tuple(specs)),
        contents=base.contents.changed(*lines),
        unet=changed["unet"],
        text_encoders=(changed["text_encoder"], changed["text_encoder_2"]),
        loras=tuple(loras),
        base=base,
    )


def _changed(
    module: Any, changes: Sequence[tuple[float, dict[str, Change]]], device: torch.device
) -> Any:
    """A copy of a component with changed weights, which shares the others.

    Sums are made on the model's device, wherever the weights lie: elsewhere they have other bits.
    """
    if next(module.parameters()).is_meta:  # there is nothing to change, nor will it be called
        return module
    tensors = chain(module.parameters(), module.buffers())
    shared = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for name in sorted({name for _, own in changes for name in own}):
        before = shared.get_parameter(name)
        weight = before.to(device, torch.float32)
        total = torch.zeros_like(weight)
        with pinned(device):
            for factor, own in changes:
                if name in own:
                    total += own[name].on(weight, factor)
        changed = (weight + total).to(before.device, before.dtype)
        path, _, kind = name.rpartition(".")
        setattr(shared.get_submodule(path), kind, torch.nn.Parameter(changed, requires_grad=False))
    return shared
