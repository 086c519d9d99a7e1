"""A module of diffusers or transformers: built without weights, then given those of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import UnsupportedModel

Tensors = dict[str, torch.Tensor]

#: Tensors that older programs saved among the others, and nothing needs.
NEEDLESS = ("position_ids", "logit_scale")


def empty(make: Callable[[], Any], source: Path) -> Any:
    """A module on torch's `meta` device, where nothing takes memory.

    Args:
        make: makes it.
        source: the file that says how, for messages.

    Raises:
        UnsupportedModel: no module can be made so.
    """
    try:
        with torch.device("meta"):
            return make()
    # Each value is of its kind; whether they fit each other the libraries check, each in its way.
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            "a model that can be built",
            f"{source}, whose values do not fit each other ({said})",
            "Fetch or copy it again, or use another model.",
        ) from error


def text_encoder(config: dict[str, Any], *, projected: bool) -> Any:
    """CLIP's text encoder, by its configuration.

    Args:
        config: of a CLIPTextConfig.
        projected: whether it is the one that ends in a projection.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    # Else a configuration could ask for code that is fetched.
    ours = CLIPTextConfig(**config, attn_implementation="sdpa")
    return CLIPTextModelWithProjection(ours) if projected else CLIPTextModel(ours)


def mismatch(module: Any, given: Tensors) -> str | None:
    """What is missing or of another shape among tensors for a module, None if nothing is."""
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - given.keys())
    if missing:
        return f"without {some(missing)} of {type(module).__name__}"
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            return f"with {name} of shape {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
    return None


def fill(module: Any, tensors: Tensors, device: torch.device, dtype: torch.dtype) -> Any:
    """The module of `empty` with its weights, ready to be called."""
    placed = {name: tensors[name].to(device, dtype).contiguous() for name in module.state_dict()}
    module.load_state_dict(placed, assign=True)
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            # The only one there is that no file holds: the places of tokens, counted.
            assert name == "position_ids", name
            part.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
    return module.to(device).eval().requires_grad_(False)


def plain_names(module: Any, tensors: Tensors) -> Tensors:
    """Tensors of a text encoder under the names that this version of transformers has.

    Newer ones name CLIPTextModel's parts without `text_model.`, whatever a file has.
    """
    start = "text_model."
    bare = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    wanted = module.state_dict().keys()
    full = {name.removeprefix(start): name for name in wanted}
    return {full.get(name, name): tensor for name, tensor in bare.items()}


def some(names: Iterable[str]) -> str:
    """The first of several names, and how many there are beside it."""
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
