"""CLIP's tokenizers, made of words and merges alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..errors import UnsupportedModel
from .config import TOKENIZER, read_config, read_json
from .weights import some

#: A tokenizer is these two files.
FILES = ("vocab.json", "merges.txt")

_TOKENS = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
}
#: What fills a prompt up, by encoder: ViT-L was trained with the end of text, bigG with id 0.
_PADDING = ("<|endoftext|>", "!")

#: SHA-256 of CLIP's own vocabulary, as `digest_vocabulary` computes it.
CLIP_VOCABULARY = "64b85eec9307ffac25105ea5c4a2f6538baa1728289342f6b9f2aba7a0bdc03a"

#: Most bytes of a tokenizer's files, and most of its words; CLIP's have 4 MB and 49,408.
_LARGEST = 32_000_000
_MOST = 200_000


class Words(NamedTuple):
    """What a tokenizer knows.

    Attributes:
        numbers: word -> its number, from 0 without gaps.
        merges: pairs of parts, in the order in which they are joined.
    """

    numbers: dict[str, int]
    merges: list[tuple[str, str]]


def make_tokenizers(folder: Path) -> tuple[Any, Any]:
    """The tokenizers of CLIP ViT-L and of OpenCLIP bigG, which share the words in a folder.

    Raises:
        UnsupportedModel: they are not there, or damaged.
    """
    words = _read_words(folder)
    first, second = (_made(folder, words, _TOKENS | {"pad_token": pad}) for pad in _PADDING)
    return first, second


def read_tokenizer(folder: Path, number: int) -> Any:
    """The tokenizer in a folder of its own.

    Args:
        folder: with vocab.json and merges.txt, or tokenizer.json, and tokenizer_config.json.
        number: of the text encoder that it is for, 0 or 1.

    Raises:
        UnsupportedModel: it is not there, or damaged.
    """
    tokens = _TOKENS | {"pad_token": _PADDING[number]}
    # The first says it all today; older ones say it in the second.
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            said = read_config(folder / name, TOKENIZER)
            tokens |= {key: _text(said[key]) for key in tokens if key in said}
    words = _read_words(folder)
    added = sorted(_added(folder) - words.numbers.keys())
    if added:
        raise UnsupportedModel(
            "a tokenizer with CLIP's words alone",
            f"{folder}, to which {some(added)} was added",
            "Use a model without it, and load its textual inversions beside it.",
        )
    return _made(folder, words, tokens)


def check_tokenizers(first: Any, second: Any, folder: Path) -> None:
    """Check that the first can cut texts for both.

    The second cannot: its padding is `!`, which transformers then takes for padding in a text too.

    Args:
        first: of CLIP ViT-L.
        second: of OpenCLIP bigG.
        folder: that they are of.

    Raises:
        UnsupportedModel: their vocabularies differ, or a word of texts is the first one's padding.
    """
    if first.get_vocab() != second.get_vocab():
        found = "vocabularies that differ"
    elif first.pad_token_id not in (first.bos_token_id, first.eos_token_id):
        found = f"{first.pad_token!r} for padding in the first"
    else:
        return
    raise UnsupportedModel(
        "two tokenizers with CLIP's vocabulary, the first of which pads with its end of text",
        f"{folder} with {found}",
        "Take both from stabilityai/stable-diffusion-xl-base-1.0.",
    )


def digest_vocabulary(tokenizer: Any) -> str:
    """SHA-256 of the words with their numbers, whatever files they came from.

    CLIP numbers its words in the order of its merges, so that they say how a text is cut too.
    """
    words = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda item: item[::-1]))
    return hashlib.sha256(words.encode()).hexdigest()


def _made(source: Path, words: Words, tokens: Mapping[str, str]) -> Any:
    """A tokenizer; what else lies in the folder that its words come from is not looked at."""
    from transformers import CLIPTokenizer

    unknown = sorted({*tokens.values()} - words.numbers.keys())
    if unknown:
        raise _refusal(source, f"without the word {unknown[0]}")
    with TemporaryDirectory() as folder:
        vocabulary, merges = (Path(folder) / name for name in FILES)
        vocabulary.write_text(json.dumps(words.numbers), "utf-8")
        lines = ["#version: 0.2", *map(" ".join, words.merges), ""]
        merges.write_bytes("\n".join(lines).encode())
        try:
            return CLIPTokenizer.from_pretrained(
                folder, **tokens, model_max_length=77, local_files_only=True
            )
        # The library has errors of no class of their own.
        except Exception as error:
            raise _refusal(source, str(error)) from error


def _read_words(folder: Path) -> Words:
    """The words of the two files, or of tokenizer.json, where they are too.

    Raises:
        UnsupportedModel: they are not there, or do not fit each other.
    """
    vocabulary, merges = (folder / name for name in FILES)
    try:
        if vocabulary.is_file() and merges.is_file():
            numbers: Any = read_json(vocabulary, _LARGEST)
            if merges.stat().st_size > _LARGEST:
                raise ValueError(f"merges.txt of more than {_LARGEST} bytes")
            lines = merges.read_text("utf-8").split("\n")
            said: list[Any] = [s for s in lines if s.strip() and not s.startswith("#version")]
        else:
            model = read_json(folder / "tokenizer.json", _LARGEST)["model"]
            numbers, said = model["vocab"], model["merges"]
        pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in said]
        _check_words(numbers, pairs)
    except (OSError, ValueError, TypeError, LookupError) as error:
        if isinstance(error, UnsupportedModel):
            raise
        raise _refusal(folder, str(error)) from error
    return Words(numbers, pairs)


def _check_words(numbers: Any, pairs: Sequence[tuple[Any, ...]]) -> None:
    if not isinstance(numbers, dict) or not 2 < len(numbers) <= _MOST:
        raise ValueError(f"a vocabulary that is not of 3 to {_MOST} words")
    if any(type(number) is not int for number in numbers.values()) or sorted(numbers.values()) != [
        *range(len(numbers))
    ]:
        raise ValueError("words that are not numbered from 0 without gaps")
    for pair in pairs:
        if len(pair) != 2 or any(word not in numbers for word in (*pair, "".join(pair))):
            raise ValueError(f"a merge of parts that are no words: {pair!r}")


def _added(folder: Path) -> set[str]:
    """Words that a tokenizer has beside its vocabulary, as different versions write them."""
    own, all_of_it = (
        read_json(file, _LARGEST) if (file := folder / name).is_file() else {}
        for name in ("added_tokens.json", "tokenizer_config.json")
    )
    listed = all_of_it.get("added_tokens_decoder")
    entries = listed.values() if isinstance(listed, dict) else []
    return {*own, *(str(entry["content"]) for entry in entries if "content" in entry)}


def _text(said: str | dict[str, str]) -> str:
    return said if isinstance(said, str) else said["content"]


def _refusal(folder: Path, found: str) -> UnsupportedModel:
    return UnsupportedModel(
        "CLIP's tokenizer", f"{folder} ({found})", "Fetch or copy the folder again."
    )
