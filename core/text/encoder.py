"""Prompts -> embeddings."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch

from ..errors import InvalidRequest
from ..models.model import Model
from ..pinning import pinned
from .chunks import Chunk, to_chunks, to_ids
from .stack import TOKENS_PER_CHUNK

#: Distinct prompts whose embeddings are kept; 256 of full SDXL take 80 MB in fp16.
CACHE_SIZE = 256


class Embedding(NamedTuple):
    """What the text encoders make of one prompt.

    Attributes:
        prompt_embeds: (1, 77 N, C) in the model's dtype on its device, both encoders side by side.
        pooled_prompt_embeds: (1, P), of the second encoder's first chunk.
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor


class TextEncoder:
    """Encodes each distinct chunk of a prompt once, alone, at a fixed shape."""

    def __init__(self, model: Model) -> None:
        """Encode with the tokenizers and text encoders of `model`."""
        self._model = model
        # Not methods of its own: a circle would keep the model until some garbage collection.
        self._chunks = lru_cache(CACHE_SIZE)(partial(_cut, model))
        self._encode_chunk = lru_cache(2 * CACHE_SIZE)(partial(_run, model))
        #: Prompt, chunks, layers to skip -> what an image has in use, for others with the same.
        self._in_use: MutableMapping[tuple[str | None, int, int], torch.Tensor]
        self._in_use = WeakValueDictionary()

    def count(self, prompt: str | None) -> int:
        """The number of chunks of a prompt; 1 for None.

        Raises:
            InvalidPrompts: it calls a textual inversion that is not there, or has a weight that
                is not finite.
            ModelNotFound: the file of one that it calls is missing.
            UnsupportedModel: the file of one that it calls is not made for SDXL.
        """
        return 1 if prompt is None else len(self._chunks(prompt))

    def check_clip_skip(self, clip_skip: int) -> None:
        """Check that the text encoders have so many layers.

        Raises:
            InvalidRequest: they have not.
        """
        most = min(e.config.num_hidden_layers for e in self._model.text_encoders) - 1
        if clip_skip > most:
            raise InvalidRequest(
                f"a clip_skip of at most {most} with this model", repr(clip_skip), "Lower it."
            )

    def encode(self, prompt: str | None, *, chunks: int, clip_skip: int = 0) -> Embedding:
        """The embedding of a prompt.

        Both encoders' last hidden layer but one, or `clip_skip` layers before, chunk by chunk,
        and the pooled text of the second's first chunk. A weight moves a token's embedding away
        from (or towards) that of the empty prompt at its place, as in ComfyUI.

        Args:
            prompt: as `core.text.syntax` describes; None for zeros in place of all numbers.
            chunks: to have in all, by repeating the prompt's own: a multiple of their number, of
                `common_chunks`.
            clip_skip: 0 or more.
        """
        if prompt is None:
            embeds, pooled = self._zeros(chunks)
        else:
            embeds, pooled = self._encoded(prompt, chunks, clip_skip)
        key = prompt, chunks, clip_skip
        return Embedding(self._in_use.setdefault(key, embeds), pooled)

    def _encoded(self, prompt: str, chunks: int, clip_skip: int) -> Embedding:
        cut = self._chunks(prompt)
        columns, pooled = [], None
        with pinned(self._model.device):
            for which in range(len(self._model.text_encoders)):
                parts = []
                for chunk in cut:
                    hidden, chunk_pooled = self._encode_chunk(which, _unweighted(chunk), clip_skip)
                    parts.append(self._weigh(hidden, which, chunk, clip_skip))
                    pooled = chunk_pooled if len(parts) == 1 else pooled
                columns.append(torch.cat(parts, dim=1))
        assert pooled is not None
        embeds = torch.cat(columns, dim=-1).repeat(1, chunks // len(cut), 1)
        return Embedding(embeds, pooled)

    def _zeros(self, chunks: int) -> Embedding:
        first, second = self._model.text_encoders
        zeros = partial(torch.zeros, dtype=self._model.dtype, device=self._model.device)
        width = first.config.hidden_size + second.config.hidden_size
        return Embedding(
            zeros(1, TOKENS_PER_CHUNK * chunks, width), zeros(1, second.config.projection_dim)
        )

    def _weigh(
        self, hidden: torch.Tensor, which: int, chunk: Chunk, clip_skip: int
    ) -> torch.Tensor:
        weights = torch.ones(hidden.shape[1])
        weights[1 : 1 + len(chunk)] = torch.tensor([token.weight for token in chunk])
        if (weights == 1).all():
            return hidden
        empty = self._encode_chunk(which, (), clip_skip)[0].float()
        factor = weights[None, :, None].to(hidden.device)
        moved = empty + factor * (hidden.float() - empty)
        return torch.where(factor == 1, hidden, moved.to(hidden.dtype))


def _cut(model: Model, prompt: str) -> tuple[Chunk, ...]:
    """The chunks for both encoders, whose vocabulary is the same.

    The first one's tokenizer cuts: where padding is a word of texts, as `!` is for the second,
    that of transformers takes it in a text for padding.
    """
    return to_chunks(prompt, model.tokenizers[0], model.inversions)


def _run(model: Model, which: int, chunk: Chunk, clip_skip: int) -> tuple[torch.Tensor, Any]:
    """Hidden layer (1, 77, C), and pooled text, which the first encoder has none of."""
    encoder, tokenizer = model.text_encoders[which], model.tokenizers[which]
    ids = torch.tensor([to_ids(chunk, tokenizer)], device=model.device)
    with _learned(model, which, chunk):
        output = encoder(ids, output_hidden_states=True)
    return output.hidden_states[-2 - clip_skip], output.get("text_embeds")


@contextmanager
def _learned(model: Model, which: int, chunk: Chunk) -> Iterator[None]:
    """Put the vectors of textual inversions in their places."""
    places = {1 + k: token.key for k, token in enumerate(chunk) if not isinstance(token.key, int)}
    if not places:
        yield
        return

    def put(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        rows = output.clone()
        for place, (name, number) in places.items():
            rows[0, place] = model.inversions[name].vectors[which][number].to(rows)
        return rows

    embedding = model.text_encoders[which].get_input_embeddings()
    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _unweighted(chunk: Chunk) -> Chunk:
    return tuple(token._replace(weight=1.0) for token in chunk)
