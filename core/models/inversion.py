"""Textual inversions: words of their own, learned as vectors (arXiv:2208.01618)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import ModelNotFound, UnsupportedModel
from .contents import Contents
from .header import read_header

if TYPE_CHECKING:
    from .model import Model

#: Names of the vectors for both text encoders, as different trainers call them.
_NAMES = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))


@dataclass(frozen=True, eq=False)
class TextualInversion:
    """A learned word.

    Attributes:
        digest: SHA-256 of its file's content.
        vectors: for each text encoder (N, its width) fp32 on the CPU, N tokens' worth.
    """

    digest: str
    vectors: tuple[torch.Tensor, torch.Tensor]


def with_inversions(model: Model, paths: dict[str, Path]) -> Model:
    """The model with learned words, which prompts call by `embedding:name`.

    Each is part of the identity of those images alone whose prompts call it.

    Args:
        model: stays as it is.
        paths: name -> a .safetensors file.

    Raises:
        ModelNotFound: a file is missing.
        UnsupportedModel: a file is not a textual inversion for SDXL.
    """
    widths = tuple(encoder.config.hidden_size for encoder in model.text_encoders)
    new = {name: _read(path, widths) for name, path in paths.items()}
    base = None if model.base is None else with_inversions(model.base, paths)
    return replace(model, inversions={**model.inversions, **new}, base=base)


def _read(path: Path, widths: tuple[int, ...]) -> TextualInversion:
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelNotFound("a textual inversion, a .safetensors file", str(path), "Check it.")
    shapes = read_header(path).shapes
    for names in _NAMES:
        if tuple(shapes.get(name, ())[1:] for name in names) == tuple((w,) for w in widths):
            tensors = load_file(path)
            first, second = (tensors[name].float() for name in names)
            return TextualInversion(Contents(path, (path,)).digest, (first, second))
    raise UnsupportedModel(
        f"a textual inversion for SDXL, with vectors of {' and '.join(map(str, widths))} numbers",
        f"{path} with {', '.join(f'{name} {shape}' for name, shape in list(shapes.items())[:3])}",
        "Choose one that was trained on SDXL.",
    )
