"""Textual inversions: words of their own, learned as vectors (arXiv:2208.01618)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import ModelNotFound, UnsupportedModel
from .digest import digest_file
from .header import read_header
from .model import Model, TextualInversion

#: Names of the vectors for both text encoders, as different trainers call them.
_NAMES = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))


class Inversions(Mapping[str, TextualInversion]):
    """Learned words by name, each read when it is first asked for, and kept."""

    def __init__(self, paths: Mapping[str, Path], widths: tuple[int, ...]) -> None:
        """Name the files; none is read yet.

        Args:
            paths: name -> a .safetensors file.
            widths: of the text encoders that they are for.
        """
        self.paths = dict(paths)
        self._widths = widths
        self._read: dict[str, TextualInversion] = {}

    def __getitem__(self, name: str) -> TextualInversion:
        """The word of that name.

        Raises:
            ModelNotFound: its file is missing.
            UnsupportedModel: its file is not a textual inversion for SDXL.
        """
        if name not in self._read:
            self._read[name] = _read(self.paths[name], self._widths)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.paths)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)


def with_inversions(model: Model, paths: Mapping[str, Path]) -> Model:
    """The model with learned words, which prompts call by `embedding:name`.

    A file is read when a prompt calls it: there may be hundreds, for other models too. Each is part
    of the identity of those images alone whose prompts call it.

    Args:
        model: stays as it is.
        paths: name -> a .safetensors file.
    """
    widths = tuple(encoder.config.hidden_size for encoder in model.text_encoders)
    known = model.inversions.paths if isinstance(model.inversions, Inversions) else {}
    inversions = Inversions({**known, **paths}, widths)
    base = None if model.base is None else _with(model.base, inversions)
    return replace(_with(model, inversions), base=base)


def _with(model: Model, inversions: Inversions) -> Model:
    embeddings = {name: str(path.absolute()) for name, path in inversions.paths.items()}
    spec = replace(model.spec, embeddings=tuple(embeddings.items()))
    return replace(model, inversions=inversions, spec=spec)


def _read(path: Path, widths: tuple[int, ...]) -> TextualInversion:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelNotFound("a textual inversion, a .safetensors file", str(path), "Check it.")
    shapes = read_header(path).shapes
    for names in _NAMES:
        first, second = (shapes.get(name, ()) for name in names)
        if (first[1:], second[1:]) == tuple((w,) for w in widths) and first[0] == second[0]:
            try:
                tensors = load_file(path)
            except (OSError, SafetensorError) as error:
                raise _refusal(path, widths, f"which cannot be read ({error})") from error
            vectors = tensors[names[0]].float(), tensors[names[1]].float()
            return TextualInversion(digest_file(path), vectors)
    found = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:3])
    raise _refusal(path, widths, f"with {found}")


def _refusal(path: Path, widths: tuple[int, ...], found: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"a textual inversion for SDXL, with vectors of {' and '.join(map(str, widths))} numbers",
        f"{path}, {found}",
        "Choose one that was trained on SDXL.",
    )
