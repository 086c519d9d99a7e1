"""The memory that a run takes beside the weights, and what is said where there is too little."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..out_of_memory import OFFLOAD, ROWS, TILE, telling

if TYPE_CHECKING:
    from ..numerics import Geometry
    from .backend import Backend

#: Most numbers that are alive at once in a call of SDXL's UNet, for each pixel of each row, and in
#: one of its VAE, for each pixel; as `models/footprint.py` counts them.
UNET_NUMBERS = 79
VAE_NUMBERS = 768

#: Kernels need room to work in, and the allocator leaves gaps.
SPARE = 1.5


def working_memory(model: Backend, geometry: Geometry, width: int, height: int) -> float:
    """Bytes to have free, beside the weights, for the largest call of images of one size."""
    at_once = min(width * height, (geometry.vae_tile or max(width, height)) ** 2)
    # What is kept of prompts lies there twice: by prompt, and put together for the call.
    row = UNET_NUMBERS * width * height * model.dtype.itemsize + 2 * model.text_bytes
    unet = row * geometry.rows
    vae: int = VAE_NUMBERS * at_once * model.vae_dtype.itemsize
    return SPARE * max(unet, vae)


def telling_of_images(
    model: Backend, geometry: Geometry, width: int, height: int
) -> AbstractContextManager[None]:
    """`telling` around a run of images of one size in pixels."""
    at_once = min(max(width, height), geometry.vae_tile or max(width, height))
    ways = (
        *([OFFLOAD] if _can_offload(model) else []),
        *([TILE] if at_once > TILE.value else []),
        *([ROWS] if geometry.rows > ROWS.value else []),
    )
    said = [
        *(["load the model with `offload`"] if OFFLOAD in ways else []),
        *(f"set `{way.name}` to {way.value}" for way in ways if way != OFFLOAD),
        "make smaller images",
        "close what else uses the memory",
    ]
    dtype = str(model.dtype).removeprefix("torch.")
    return telling(
        f"enough memory on {model.device} for images of {width} x {height}, "
        f"{geometry.rows} rows per UNet call, in {dtype}",
        f"One of these helps: {'; '.join(said)}. Other rows and tiles may give other bits.",
        ways,
    )


def _can_offload(model: Backend) -> bool:
    return model.device.type != "cpu" and not (model.offload or model.full_calls)
