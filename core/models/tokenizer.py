"""CLIP's tokenizers, for checkpoints that bring none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound
from .hub import fetch_files, list_files

#: A tokenizer is these two files.
FILES = ("vocab.json", "merges.txt")

#: Hugging Face repositories that have them, and where.
_REPOSITORIES = (
    ("stabilityai/stable-diffusion-xl-base-1.0", "tokenizer/"),
    ("openai/clip-vit-large-patch14", ""),
)

#: What fills a prompt up, by encoder: ViT-L was trained with the end of text, bigG with id 0.
_PADDING = ("<|endoftext|>", "!")

#: SHA-256 of CLIP's own vocabulary, as `digest_vocabulary` computes it.
CLIP_VOCABULARY = "64b85eec9307ffac25105ea5c4a2f6538baa1728289342f6b9f2aba7a0bdc03a"


def load_tokenizers(folder: Path, others: Sequence[Path] = ()) -> tuple[Any, Any]:
    """The tokenizers of CLIP ViT-L and of OpenCLIP bigG, which share their vocabulary.

    Looked for in the checkpoint's folder and its subfolder `tokenizer`, in `others`, in the Hugging
    Face cache of this machine, and at last on the hub.

    Args:
        folder: that the checkpoint lies in.
        others: further folders, in this order.

    Raises:
        ModelNotFound: they are nowhere.
    """
    from transformers import CLIPTokenizer

    found = _find([folder, folder / "tokenizer", *others])
    first, second = (
        CLIPTokenizer.from_pretrained(
            found,
            bos_token="<|startoftext|>",
            eos_token="<|endoftext|>",
            unk_token="<|endoftext|>",
            pad_token=padding,
            model_max_length=77,
            local_files_only=True,
        )
        for padding in _PADDING
    )
    return first, second


def digest_vocabulary(tokenizer: Any) -> str:
    """SHA-256 of the words with their numbers, whatever files they came from.

    CLIP numbers its words in the order of its merges, so that they say how a text is cut too.
    """
    words = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda item: item[::-1]))
    return hashlib.sha256(words.encode()).hexdigest()


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
