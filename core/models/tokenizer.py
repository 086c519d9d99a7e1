"""CLIP's tokenizers, for checkpoints that bring none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound

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

    Looked for in the checkpoint's folder and its subfolder `tokenizer`, in `others`, and in the
    Hugging Face cache of this machine.

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


def _find(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if all((folder / name).is_file() for name in FILES):
            return folder
    cached = _cached()
    if cached is not None:
        return cached
    raise ModelNotFound(
        f"CLIP's tokenizer, the files {' and '.join(FILES)}",
        f"none in {', '.join(map(str, folders))} or the Hugging Face cache",
        "Put the two files of openai/clip-vit-large-patch14 beside the checkpoint.",
    )


def _cached() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repository, subfolder in _REPOSITORIES:
        paths = [try_to_load_from_cache(repository, subfolder + name) for name in FILES]
        if all(isinstance(path, str) for path in paths):
            return Path(str(paths[0])).parent
    return None
