"""Prompts -> chunks of 77 tokens, which is all that a text encoder reads at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..errors import InvalidPrompts
from ..models.model import TextualInversion
from .syntax import Piece, parse

#: A stretch of at least so many tokens is cut at the end of a chunk (ComfyUI's number).
_LONG = 8

_INVERSION = re.compile(r"(?<!\S)embedding:\s*(\S+)")
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

    They are filled as ComfyUI fills them: all text of one weight up to a textual inversion is one
    stretch, and so is each inversion. A stretch that is too long for what is left of a chunk is cut
    there if it has eight tokens or more, be it within a word; else it begins the next chunk.

    Args:
        prompt: as `core.text.syntax` describes.
        tokenizer: of the first text encoder; the second has the same vocabulary.
        inversions: that it may call, by name.

    Raises:
        InvalidPrompts: it calls a textual inversion that is not there, or has a weight that is
            not finite.
        ModelNotFound: the file of one that it calls is missing.
        UnsupportedModel: the file of one that it calls is not made for SDXL.
    """
    limit = tokenizer.model_max_length - 2  # start and end take two places
    chunks: list[list[Token]] = [[]]
    for piece in parse(prompt):
        if piece.starts_part:
            chunks.append([])
        for stretch in _stretches(piece, tokenizer, inversions):
            is_long = len(stretch) >= _LONG
            while stretch:
                free = limit - len(chunks[-1])
                if len(stretch) > free and not (is_long and free):
                    chunks.append([])
                    continue
                chunks[-1] += stretch[:free]
                stretch = stretch[free:]
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


def _stretches(
    piece: Piece, tokenizer: Any, inversions: Mapping[str, TextualInversion]
) -> Iterator[list[Token]]:
    done = 0
    for call in _calls(piece.text, inversions):
        yield _tokens(piece.text[done : call.start], piece.weight, tokenizer)
        count = len(inversions[call.name].vectors[0])
        yield [Token((call.name, place), piece.weight) for place in range(count)]
        done = call.end
    yield _tokens(piece.text[done:], piece.weight, tokenizer)


def _tokens(text: str, weight: float, tokenizer: Any) -> list[Token]:
    ids = tokenizer(text, verbose=False).input_ids
    return [Token(number, weight) for number in ids[1:-1]]


class _Call(NamedTuple):
    """`embedding:name` at text[start:end]."""

    name: str
    start: int
    end: int


def _calls(text: str, inversions: Mapping[str, TextualInversion]) -> Iterator[_Call]:
    """The calls in a text. Each means the longest name that it begins with."""
    for match in _INVERSION.finditer(text):
        call = _as_file(match[1])
        ends = {
            name: found.end()
            for name in inversions
            if call.startswith(_as_file(name)) and (found := _END.match(call, len(name)))
        }
        if not ends or "embedding:" in call:
            more = " Put a blank before each `embedding:`." if "embedding:" in call else ""
            raise InvalidPrompts(
                "the name of a textual inversion (.safetensors)",
                match[0],
                f"There is {_near(match[1], inversions)}; load it, or correct the name.{more}",
            )
        name = max(ends, key=len)
        yield _Call(name, match.start(), match.start(1) + ends[name])


def _as_file(name: str) -> str:
    """As the file system compares it, with / between folders."""
    return os.path.normcase(name).replace("\\", "/")


def _near(text: str, names: Mapping[str, TextualInversion]) -> str:
    """The names most like a text, or all where they are few."""
    near = get_close_matches(text, names, n=_TOLD) if len(names) > _TOLD else sorted(names)
    if near or not names:
        return ", ".join(near) or "none"
    return f"none like it among {len(names)}"
