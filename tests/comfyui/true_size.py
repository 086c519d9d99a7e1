"""SDXL base in its true size with random weights: a file of 6.9 GB, written a tensor at a time."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from batch_sdxl.core.models import sdxl_config
from batch_sdxl.tests.models.conftest import Tensors, original_tensors

#: Of the file.
SIZE = 6_940_000_000

#: How many numbers are drawn, of which each tensor takes as many as it needs, from another place:
#: a prime, so that rows of weights differ.
_DRAWN = 2**22 - 3


def write_checkpoint(path: Path) -> None:
    """Write it in fp16 and the original layout, so that activations stay in range."""
    tensors = _skeleton()
    header = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": {torch.float16: "F16", torch.int64: "I64"}[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    drawn = np.random.default_rng(0).standard_normal(_DRAWN, np.float32)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for place, (name, tensor) in enumerate(tensors.items()):
            if not tensor.is_meta:
                file.write(tensor.numpy().tobytes())
                continue
            if tensor.ndim > 1:
                scale = 0.8 / math.sqrt(math.prod(tensor.shape[1:]))
                some = np.roll(drawn * scale, 12345 * place).astype(np.float16)
            else:  # norms that change nothing, and no biases
                some = np.full(_DRAWN, name.endswith("weight"), np.float16)
            for start in range(0, tensor.numel(), _DRAWN):
                file.write(some[: tensor.numel() - start].data)


def _skeleton() -> Tensors:
    """Its tensors, without numbers but for the places of words."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        parts = (
            UNet2DConditionModel(**sdxl_config.UNET),
            AutoencoderKL(**sdxl_config.VAE),
            CLIPTextModel(CLIPTextConfig(**sdxl_config.TEXT_ENCODER)),
            CLIPTextModelWithProjection(CLIPTextConfig(**sdxl_config.TEXT_ENCODER_2)),
        )
    return original_tensors(*(part.half().state_dict() for part in parts))
