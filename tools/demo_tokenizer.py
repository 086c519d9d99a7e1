"""The model's tokenizers: CLIP's kind, in which every word of a caption is one token."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from captions import vocabulary

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
Word = tuple[str, ...]


def byte_letters() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + k) for k in range(len(others))]


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until each word is a single token."""
    parts: list[Word] = [(*word[:-1], word[-1] + "</w>") for word in words]
    merges = []
    while any(len(word) > 1 for word in parts):
        pairs = Counter(pair for word in parts for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        parts = [_merged(word, best) for word in parts]
    return merges


def _merged(word: Word, pair: tuple[str, str]) -> Word:
    result: list[str] = []
    for part in word:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return tuple(result)


def token_ids() -> dict[str, int]:
    """The vocabulary: bytes, bytes that end a word, merges, and the two special tokens."""
    letters = byte_letters()
    merged = ["".join(pair) for pair in learn_merges(vocabulary())]
    tokens = [*letters, *[letter + "</w>" for letter in letters], *merged, START, END]
    return {token: index for index, token in enumerate(tokens)}


def write_tokenizers(model: Path) -> None:
    """Writes `tokenizer` and `tokenizer_2`, which differ in padding alone, as SDXL's do."""
    merges = [" ".join(pair) for pair in learn_merges(vocabulary())]
    for folder, padding in (("tokenizer", END), ("tokenizer_2", "!")):
        path = model / folder
        path.mkdir(parents=True, exist_ok=True)
        specials = {
            "bos_token": START,
            "eos_token": END,
            "pad_token": padding,
            "unk_token": END,
        }
        config: dict[str, Any] = {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": LENGTH,
            "do_lower_case": True,
            "add_prefix_space": False,
            "errors": "replace",
            **specials,
        }
        (path / "vocab.json").write_text(json.dumps(token_ids(), ensure_ascii=False))
        (path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        (path / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
        (path / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n")
