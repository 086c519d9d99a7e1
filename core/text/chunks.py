"""Prompts -> chunks of 77 tokens, which is all that a text encoder reads at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import InvalidPrompts
from ..models.inversion import TextualInversion
from .syntax import Piece, parse

#: A word of at least so many tokens may be cut at the end of a chunk (ComfyUI's number).
_LONG_WORD = 8

_INVERSION = re.compile(r"embedding:\S+")


class Token(NamedTuple):
    """A place in a chunk.

    Attributes:
        key: a number of the tokenizer, or name and place of a textual inversion's vector.
    """

    key: int | tuple[str, int]
    weight: float = 1.0


Chunk = tuple[Token, ...]


def to_chunks(
    prompt: str, tokenizer: Any, inversions: Mapping[str, TextualInversion]
) -> tuple[Chunk, ...]:
    """The chunks of a prompt, at least one; each without start, end and padding.

    A word is not cut, if it is not a long one, but begins the next chunk.

    Args:
        prompt: as `core.text.syntax` describes.
        tokenizer: of one of the text encoders.
        inversions: that it may call, by name.

    Raises:
        InvalidPrompts: it calls a textual inversion that is not there.
    """
    limit = tokenizer.model_max_length - 2  # start and end take two places
    chunks: list[list[Token]] = [[]]
    for piece in parse(prompt):
        if piece.starts_part:
            chunks.append([])
        for word in _words(piece, tokenizer, inversions):
            while word:
                free = limit - len(chunks[-1])
                if len(word) > free and (len(word) < _LONG_WORD or free == 0):
                    chunks.append([])
                    continue
                chunks[-1] += word[:free]
                word = word[free:]
    return tuple(map(tuple, chunks))


def to_ids(chunk: Chunk, tokenizer: Any) -> list[int]:
    """The numbers of a chunk, with start, end and padding; 0 in place of learned vectors."""
    keys = [token.key if isinstance(token.key, int) else 0 for token in chunk]
    ids = [tokenizer.bos_token_id, *keys, tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def called_inversions(prompt: str, inversions: Mapping[str, TextualInversion]) -> set[str]:
    """Names of the textual inversions that a prompt calls.

    Raises:
        InvalidPrompts: one is not there.
    """
    calls = [match[0] for piece in parse(prompt) for match in _INVERSION.finditer(piece.text)]
    return {_called(call, inversions) for call in calls}


def _words(
    piece: Piece, tokenizer: Any, inversions: Mapping[str, TextualInversion]
) -> list[list[Token]]:
    words: list[list[Token]] = []
    for text in piece.text.split():
        while match := _INVERSION.search(text):
            name = _called(match[0], inversions)
            words += _tokens([text[: match.start()]], piece.weight, tokenizer)
            count = len(inversions[name].vectors[0])
            words.append([Token((name, place), piece.weight) for place in range(count)])
            text = text[match.start() + len("embedding:") + len(name) :]
        words += _tokens([text], piece.weight, tokenizer)
    return words


def _tokens(texts: Sequence[str], weight: float, tokenizer: Any) -> list[list[Token]]:
    ids = tokenizer(list(texts), verbose=False).input_ids
    return [[Token(number, weight) for number in numbers[1:-1]] for numbers in ids]


def _called(call: str, inversions: Mapping[str, TextualInversion]) -> str:
    """The longest name that a call begins with: a comma may follow without a blank."""
    text = call.removeprefix("embedding:")
    names = [name for name in inversions if text.startswith(name)]
    if not names:
        raise InvalidPrompts(
            "the name of a textual inversion",
            call,
            f"There is {', '.join(sorted(inversions)) or 'none'}; load it, or correct the name.",
        )
    return max(names, key=len)
