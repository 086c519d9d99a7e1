"""Images of any sizes <-> ComfyUI's batches, which hold images of one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def to_batches(images: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Stack neighbours of one size: one batch where all agree, else several, in the same order.

    Args:
        images: each (H, W, C) or (H, W).
    """
    import torch

    return [torch.stack(list(group)) for _, group in groupby(images, key=lambda i: i.shape)]


def from_batches(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The images of all batches, in order, as fp32 (ComfyUI can keep them in fp16)."""
    return [image.float() for batch in batches for image in batch]
