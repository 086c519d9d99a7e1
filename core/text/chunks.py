"""Prompts -> chunks of 77 tokens, which is all that a text encoder reads at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..errors import InvalidPrompts
from ..models.model import TextualInversion
from .syntax import Piece, parse

#: A word of at least so many tokens may be cut at the end of a chunk (ComfyUI's number).
_LONG_WORD = 8

_INVERSION = re.compile(r"embedding:(\S+)")
#: What may follow a name: neither a letter nor a sign with one, which would make it another name.
_END = re.compile(r"(\.safetensors)?(?!\w|[-./]\w)")
#: Most names that a message tells.
_TOLD = 5


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
        ModelNotFound: the file of one that it calls is missing.
        UnsupportedModel: the file of one that it calls is not made for SDXL.
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
    return {call.name for piece in parse(prompt) for call in _calls(piece.text, inversions)}


def _words(
    piece: Piece, tokenizer: Any, inversions: Mapping[str, TextualInversion]
) -> list[list[Token]]:
    words: list[list[Token]] = []
    for text in piece.text.split():
        done = 0
        for call in _calls(text, inversions):
            words += _tokens([text[done : call.start]], piece.weight, tokenizer)
            count = len(inversions[call.name].vectors[0])
            words.append([Token((call.name, place), piece.weight) for place in range(count)])
            done = call.end
        words += _tokens([text[done:]], piece.weight, tokenizer)
    return words


def _tokens(texts: Sequence[str], weight: float, tokenizer: Any) -> list[list[Token]]:
    ids = tokenizer(list(texts), verbose=False).input_ids
    return [[Token(number, weight) for number in numbers[1:-1]] for numbers in ids]


class _Call(NamedTuple):
    """`embedding:name` at text[start:end]."""

    name: str
    start: int
    end: int


def _calls(text: str, inversions: Mapping[str, TextualInversion]) -> Iterator[_Call]:
    """The calls in a text. Each means the longest name that it begins with."""
    end = 0
    while match := _INVERSION.search(text, end):
        call = _as_file(match[1])
        ends = {
            name: found.end()
            for name in inversions
            if call.startswith(_as_file(name)) and (found := _END.match(call, len(name)))
        }
        if not ends:
            raise InvalidPrompts(
                "the name of a textual inversion (.safetensors)",
                match[0],
                f"There is {_near(match[1], inversions)}; load it, or correct the name.",
            )
        name = max(ends, key=len)
        end = match.start(1) + ends[name]
        yield _Call(name, match.start(), end)


def _as_file(name: str) -> str:
    """As the file system compares it, with / between folders."""
    return os.path.normcase(name).replace("\\", "/")


def _near(text: str, names: Mapping[str, TextualInversion]) -> str:
    """The names most like a text, or all where they are few."""
    near = get_close_matches(text, names, n=_TOLD) if len(names) > _TOLD else sorted(names)
    if near or not names:
        return ", ".join(near) or "none"
    return f"none like it among {len(names)}"
