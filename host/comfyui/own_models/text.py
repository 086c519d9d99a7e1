"""Prompts through a CLIP of ComfyUI's: its tokenizer, its weights syntax, its layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from ....core.errors import InvalidPrompts, InvalidRequest
from ....core.text.encoder import CACHE_SIZE, Embedding
from ....core.text.stack import TOKENS_PER_CHUNK

_TRY = "_try_get_embedding"


class ComfyText:
    """What `core.text.encoder.TextEncoder` is to Load SDXL's models; methods mean the same."""

    def __init__(self, clip: Any, device: torch.device) -> None:
        """Encode with `clip`, for a UNet on `device`."""
        self._clip = clip
        # Not methods of its own: a circle would keep the model until some garbage collection.
        self._cut = lru_cache(CACHE_SIZE)(partial(_cut, clip))
        self._run = lru_cache(CACHE_SIZE)(partial(_run, clip, device))

    def count(self, prompt: str | None) -> int:
        """The number of chunks.

        Raises:
            InvalidPrompts: it calls a textual inversion that is not there, which ComfyUI would
                leave out.
        """
        return 1 if prompt is None else self._cut(prompt).chunks

    def check_clip_skip(self, clip_skip: int) -> None:
        """Check that the layer is there, and that no node has chosen another.

        Raises:
            InvalidRequest: it is not.
        """
        encoders = self._clip.cond_stage_model
        most = min(encoders.clip_l.num_layers, encoders.clip_g.num_layers) - 2
        if clip_skip > most:
            raise InvalidRequest(
                f"a clip_skip of at most {most} with this model", repr(clip_skip), "Lower it."
            )
        if clip_skip and self._clip.layer_idx is not None:
            raise InvalidRequest(
                "one choice of CLIP's layer",
                f"clip_skip {clip_skip}, and CLIP Set Last Layer",
                "Take one of the two out.",
            )

    def encode(self, prompt: str | None, *, chunks: int, clip_skip: int) -> Embedding:
        """As CLIP Text Encode; fp32."""
        if prompt is None:
            empty = self._run(self._cut(""), 0)
            embeds, pooled = map(torch.zeros_like, empty)
        else:
            embeds, pooled = self._run(self._cut(prompt), clip_skip)
        times = chunks * TOKENS_PER_CHUNK // embeds.shape[1]
        return Embedding(embeds.repeat(1, times, 1), pooled)

    def inversions(self, prompts: Iterable[str]) -> dict[str, str]:
        """Textual inversions that prompts call: name -> SHA-256 of what ComfyUI read."""
        found: dict[str, str] = {}
        for prompt in prompts:
            found |= self._cut(prompt).inversions
        return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class _Cut:
    tokens: Any
    chunks: int
    inversions: dict[str, str]


def _cut(clip: Any, prompt: str) -> _Cut:
    called: dict[str, list[Any]] = {}
    with _noting(clip.tokenizer, called):
        tokens = clip.tokenize(prompt)
    if missing := [name for name, found in called.items() if any(one is None for one in found)]:
        raise InvalidPrompts(
            "names of textual inversions in ComfyUI's models/embeddings",
            ", ".join(f"embedding:{name}" for name in missing),
            "Put the file there, or correct the name.",
        )
    inversions = {name: _digest(found) for name, found in called.items()}
    return _Cut(tokens, min(map(len, tokens.values())), inversions)


def _run(
    clip: Any, device: torch.device, cut: _Cut, clip_skip: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if clip_skip:
        clip = clip.clone()
        clip.clip_layer(-2 - clip_skip)
    embeds, pooled = clip.encode_from_tokens(cut.tokens, return_pooled=True)
    return embeds.float().to(device), pooled.float().to(device)


@contextmanager
def _noting(tokenizer: Any, called: dict[str, list[Any]]) -> Iterator[None]:
    """Within the block, what is found of each name of a textual inversion is noted."""
    parts = [part for part in vars(tokenizer).values() if hasattr(part, _TRY)]

    def noting(find: Callable[[str], Any]) -> Callable[[str], Any]:
        def found(text: str) -> Any:
            result = find(text)
            called.setdefault(text.split()[0].strip(","), []).append(result[0])
            return result

        return found

    for part in parts:
        setattr(part, _TRY, noting(getattr(part, _TRY)))
    try:
        yield
    finally:
        for part in parts:
            delattr(part, _TRY)


def _digest(vectors: list[Any]) -> str:
    digest = hashlib.sha256()
    for tensor in vectors:
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
