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


def common_chunks(counts: Sequence[int]) -> int:
    """The least common multiple of prompts' numbers of chunks, to which their embeddings repeat.

    Shorter ones are repeated whole, as ComfyUI does. To attention that changes nothing beyond
    rounding: softmax over the same keys n times gives each copy an n-th of its weight, and their
    values add up to what they were. Zeros or empty chunks would not do: they take a share of the
    weight.

    Raises:
        InvalidPrompts: it is too large; the message names the numbers.
    """
    common = math.lcm(*counts)
    if common > max(MAX_CHUNKS, *counts):
        raise InvalidPrompts(
            f"prompts whose lengths go into {MAX_CHUNKS} pieces of {TOKENS_PER_CHUNK} tokens",
            f"lengths of {', '.join(map(str, sorted(set(counts))))} pieces, "
            f"which meet only at {common}",
            "Shorten the longest prompts, or make them in a run of their own.",
        )
    return common


def stack_embeddings(embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """One row a prompt, all brought to `common_chunks`.

    Args:
        embeddings: (1, 77 * n, D) each, of one D.

    Returns:
        (B, 77 * N, D), B their number.

    Raises:
        InvalidPrompts: as `common_chunks`.
    """
    import torch

    counts = [embedding.shape[1] // TOKENS_PER_CHUNK for embedding in embeddings]
    common = common_chunks(counts)
    return torch.cat([e.repeat(1, common // n, 1) for e, n in zip(embeddings, counts, strict=True)])
