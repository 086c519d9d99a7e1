"""Images of any sizes <-> ComfyUI's batches, which hold images of one size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..core.errors import InvalidRequest
from ..core.wording import counted

if TYPE_CHECKING:
    import torch

    from ..core.request.record import Record


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


def rows_of(
    rows: Sequence[Sequence[Record]], images: Mapping[str, Sequence[torch.Tensor]]
) -> list[Record]:
    """The rows of all parts, in order: one for each image.

    Args:
        rows: parts, as a node that takes lists is given them.
        images: the images that belong to the rows, by the name of their input.

    Raises:
        InvalidRequest: there are not as many images as rows.
    """
    records = [row for part in rows for row in part]
    for name, values in images.items():
        if len(values) != len(records):
            raise InvalidRequest(
                f"as many {name} as rows, which say which image is which",
                f"{counted(len(values), name)} and {counted(len(records), 'rows')}",
                "Wire both from the same node.",
            )
    return records
