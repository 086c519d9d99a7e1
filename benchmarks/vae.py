"""The VAE in each precision, alone and in eights: time, and how far it is from fp32 alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from batch_sdxl.core import Model

from .calls import latents
from .clock import Budget, peak_memory, seconds
from .flags import tf32

TOGETHER = 8


class Way(NamedTuple):
    """A way to decode.

    fp16 is what a VAE costs whose weights were scaled so that it does not overflow; that the random
    weights do not either, `finite` tells.
    """

    name: str
    dtype: torch.dtype
    tf32: bool = False
    memory_format: torch.memory_format = torch.contiguous_format


WAYS = (
    Way("fp32", torch.float32),
    Way("fp32 with TF32", torch.float32, tf32=True),
    Way("bf16", torch.bfloat16),
    Way("fp16", torch.float16),
    Way("fp32 with TF32, channels-last", torch.float32, True, torch.channels_last),
    Way("bf16, channels-last", torch.bfloat16, False, torch.channels_last),
    Way("fp16, channels-last", torch.float16, False, torch.channels_last),
)


def rows(model: Model, pixels: int, spend: float, budget: Budget) -> Iterator[dict[str, Any]]:
    """A row of results for each way and number of images. Differences are in shares of the
    output's standard deviation, since random weights draw no picture. `spend` is as in `seconds`.
    """
    given = latents(model, TOGETHER, pixels)
    own = model.vae.dtype
    # Off the device, where they would count as memory that a way needs.
    weights = {name: weight.cpu().clone() for name, weight in model.vae.state_dict().items()}

    def restore() -> None:
        model.vae.to(dtype=own, memory_format=torch.contiguous_format).load_state_dict(weights)

    reference = None
    try:
        for way in WAYS:
            restore()  # what one way rounded would be the next one's weights
            vae = model.vae.to(dtype=way.dtype, memory_format=way.memory_format)
            alone = None
            for images in (1, TOGETHER):
                if not budget.left:
                    return
                part = given[:images].to(way.dtype)
                row: dict[str, Any] = {"way": way.name, "pixels": pixels, "images": images}
                try:
                    with tf32(way.tf32), torch.inference_mode(), peak_memory(model.device) as peak:
                        output = vae.decode(part, return_dict=False)[0][:1].float()
                        took = seconds(
                            partial(vae.decode, part, return_dict=False),
                            model.device,
                            spend,
                        )
                except RuntimeError as error:  # too little memory, or a kernel that is not there
                    yield row | {"error": f"{error}"[:120]}
                    continue
                reference = output if reference is None else reference
                alone = output if alone is None else alone
                away = (output - reference).abs()
                spread = reference.std()
                yield row | {
                    "ms an image": 1000 * took / images,
                    "largest difference": float(away.max() / spread),
                    "mean difference": float(away.mean() / spread),
                    "bits of alone": torch.equal(output, alone),
                    "finite": bool(output.isfinite().all()),
                    "peak, GB": None if peak.bytes is None else peak.bytes / 1e9,
                }
    finally:
        restore()
