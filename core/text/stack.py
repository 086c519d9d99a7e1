"""Embeddings of prompts of any lengths -> one batch, without padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidPrompts

if TYPE_CHECKING:
    import torch

#: CLIP reads a text in pieces of this many tokens, begin and end included.
TOKENS_PER_CHUNK = 77

#: The longest that prompts are brought to: what chunks of 1 to 6 have in common. More would cost
#: more in cross-attention than the prompts are worth.
MAX_CHUNKS = 60


def stack_embeddings(embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """One row a prompt, all as long as the least common multiple of their lengths.

    Shorter ones are repeated whole. To attention that changes nothing beyond rounding: softmax
    over the same keys n times gives each copy an n-th of its weight, and their values add up to
    what they were. Zeros would not do: they take a share of the weight.

    Args:
        embeddings: (1, 77 * n, D) each, of one D.

    Returns:
        (B, 77 * N, D), B their number.

    Raises:
        InvalidPrompts: their lengths have too large a common multiple; the message names them.
    """
    import torch

    lengths = [embedding.shape[1] for embedding in embeddings]
    longest = math.lcm(*lengths)
    if longest > max(MAX_CHUNKS * TOKENS_PER_CHUNK, *lengths):
        chunks = sorted({length // TOKENS_PER_CHUNK for length in lengths})
        raise InvalidPrompts(
            f"prompts whose lengths go into {MAX_CHUNKS} pieces of {TOKENS_PER_CHUNK} tokens",
            f"lengths of {', '.join(map(str, chunks))} pieces, "
            f"which meet only at {longest // TOKENS_PER_CHUNK}",
            "Shorten the longest prompts, or make them in a run of their own.",
        )
    return torch.cat([e.repeat(1, longest // e.shape[1], 1) for e in embeddings])
