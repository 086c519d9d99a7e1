"""What the bits of an image depend on beside its request and its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .errors import InvalidRequest


@dataclass(frozen=True)
class Geometry:
    """The fixed shapes of the engine's calls.

    Kernels are chosen by shape, so a row's bits hold only among calls of the same shape. Places
    that no image needs carry padding. Text encoder and VAE always take one row.

    Attributes:
        rows: of one UNet call, an even number of 2 or more. A guided image needs two.
    """

    rows: int

    def __post_init__(self) -> None:
        """Check the number of rows."""
        if self.rows < 2 or self.rows % 2:
            raise InvalidRequest(
                "an even number of rows per UNet call, 2 or more",
                repr(self.rows),
                "8 suits most machines.",
            )

    @classmethod
    def for_device(cls, device: torch.device) -> Geometry:
        """The geometry of a device class; never of its free memory, which changes."""
        return cls(rows=8)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Set the flags that make equal calls give equal bits, and put them back afterwards."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        tf32 = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = tf32
