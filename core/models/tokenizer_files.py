"""Where CLIP's tokenizer lies, for checkpoints that bring none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound
from .hub import fetch_files, list_files
from .tokenizer import FILES, make_tokenizers

#: Hugging Face repositories that have them, and where.
_REPOSITORIES = (
    ("stabilityai/stable-diffusion-xl-base-1.0", "tokenizer/"),
    ("openai/clip-vit-large-patch14", ""),
)


def load_tokenizers(folder: Path, others: Sequence[Path] = ()) -> tuple[Any, Any]:
    """The tokenizers of CLIP ViT-L and of OpenCLIP bigG, which share their vocabulary.

    Looked for in the checkpoint's folder and its subfolder `tokenizer`, in `others`, in the Hugging
    Face cache of this machine, and at last on the hub.

    Args:
        folder: that the checkpoint lies in.
        others: further folders, in this order.

    Raises:
        ModelNotFound: they are nowhere.
        UnsupportedModel: those that are found are damaged.
    """
    return make_tokenizers(_find([folder, folder / "tokenizer", *others]))


def find_tokenizer(folders: Sequence[Path]) -> Path | None:
    """The folder with the two files on this machine: one of these, or of the cache."""
    for folder in folders:
        if all((folder / name).is_file() for name in FILES):
            return folder
    return _cached()


def _find(folders: Sequence[Path]) -> Path:
    found = find_tokenizer(folders)
    if found is not None:
        return found
    repository, subfolder = _REPOSITORIES[-1]
    try:
        list_files(repository)
        return fetch_files(repository, [subfolder + name for name in FILES]) / subfolder
    except ModelNotFound as error:
        raise ModelNotFound(
            f"CLIP's tokenizer, the files {' and '.join(FILES)}",
            f"none in {', '.join(map(str, folders))}, {error.got}",
            f"Put the two files of {repository} beside the checkpoint.",
        ) from error


def _cached() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repository, subfolder in _REPOSITORIES:
        paths = [try_to_load_from_cache(repository, subfolder + name) for name in FILES]
        if all(isinstance(path, str) for path in paths):
            return Path(str(paths[0])).parent
    return None
