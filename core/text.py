"""Prompts -> embeddings."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from .errors import InvalidPrompts
from .model import Model

#: Distinct prompts whose embeddings are kept; 256 of full SDXL take 80 MB in fp16.
CACHE_SIZE = 256


class Embedding(NamedTuple):
    """What the text encoders make of one prompt.

    Attributes:
        prompt_embeds: (1, 77, C) in the model's dtype on its device, both encoders side by side.
        pooled_prompt_embeds: (1, P), of the second encoder.
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor


class TextEncoder:
    """Encodes each distinct prompt once, alone, at a fixed shape."""

    def __init__(self, model: Model) -> None:
        """Encode with the tokenizers and text encoders of `model`."""
        self._model = model
        self.encode = lru_cache(CACHE_SIZE)(self._encode)

    def check(self, prompt: str) -> None:
        """Check that a prompt fits.

        Raises:
            InvalidPrompts: it has more tokens than the text encoders take.
        """
        for tokenizer in self._model.tokenizers:
            limit = tokenizer.model_max_length - 2  # start and end take two places
            tokens = len(tokenizer(prompt, verbose=False).input_ids) - 2
            if tokens > limit:
                raise InvalidPrompts(
                    f"a prompt of at most {limit} tokens",
                    f"{tokens} in {prompt[:60]!r}…",
                    "Shorten it; a common word is one token.",
                )

    @torch.inference_mode()
    def _encode(self, prompt: str) -> Embedding:
        """As SDXL: the last hidden layer but one of both, and the pooled text of the second."""
        hidden = []
        for tokenizer, encoder in zip(
            self._model.tokenizers, self._model.text_encoders, strict=True
        ):
            tokens = tokenizer(
                prompt,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            output = encoder(tokens.input_ids.to(self._model.device), output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
        return Embedding(torch.cat(hidden, dim=-1), output.text_embeds)
