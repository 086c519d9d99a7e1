"""What the bits of an image depend on beside its request and its model."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from .errors import InvalidRequest

if TYPE_CHECKING:
    from .models.model import Model

#: Largest image in pixels -> rows of one UNet call, by kind of device. A fixed rule, blind to free
#: memory, since that changes from run to run.
_ROWS = {
    "cpu": ((512**2, 8), (1024**2, 4)),
    "cuda": ((512**2, 16), (1024**2, 8), (1536**2, 4)),
}


#: It is part of every image's record, and takes milliseconds to read.
_version = cache(version)


@dataclass(frozen=True)
class Geometry:
    """The fixed shapes of the engine's calls.

    Kernels are chosen by shape, so a row's bits hold only among calls of the same shape. Places
    that no image needs carry padding. Text encoders and VAE always take one row.

    Attributes:
        rows: of one UNet call, an even number of 2 or more. A guided image needs two.
        vae_tile: width and height in pixels of the tiles in which larger images go through the VAE,
            which saves memory and changes bits near the seams; None for whole images.
    """

    rows: int
    vae_tile: int | None = None

    def __post_init__(self) -> None:
        """Check both."""
        if self.rows < 2 or self.rows % 2:
            raise InvalidRequest(
                "an even number of rows per UNet call, 2 or more",
                repr(self.rows),
                "8 suits most machines.",
            )
        if self.vae_tile is not None and (self.vae_tile < 128 or self.vae_tile % 64):
            raise InvalidRequest(
                "tiles of the VAE of a multiple of 64 pixels, 128 or more",
                repr(self.vae_tile),
                "512 or 1024 suit most machines.",
            )

    @classmethod
    def for_size(cls, device: torch.device, width: int, height: int) -> Geometry:
        """The geometry that images of this size in pixels have on this kind of device."""
        rules = _ROWS.get(device.type, _ROWS["cuda"])
        return cls(next((rows for limit, rows in rules if width * height <= limit), 2))


def fingerprint(model: Model, geometry: Geometry) -> dict[str, Any]:
    """The numerics in plain values: where two are equal, equal requests give equal bits.

    Returns:
        `device` (its class, not its number), `dtype` and `vae_dtype`, `rows`, `vae_tile` if there
        is one, `threads` (of a CPU, whose sums are split among them), `attention`, and the versions
        of `torch`, `diffusers` and `transformers`.
    """
    on_cpu = model.device.type == "cpu"
    return {
        "device": device_class(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "vae_dtype": str(model.vae.dtype).removeprefix("torch."),
        "rows": geometry.rows,
        **({"vae_tile": geometry.vae_tile} if geometry.vae_tile else {}),
        "threads": torch.get_num_threads() if on_cpu else None,
        "attention": "sdpa",
        **{name: _version(name) for name in ("torch", "diffusers", "transformers")},
    }


def device_class(device: torch.device) -> str:
    """What devices that compute alike have in common."""
    if device.type != "cuda":
        return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    properties = torch.cuda.get_device_properties(device)
    architecture = f"sm_{properties.major}{properties.minor}"
    # Libraries plan by the number of multiprocessors, which partitioned cards have fewer of.
    return f"cuda {properties.name} {architecture} {properties.multi_processor_count} SMs"


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
