"""A checkpoint of SDXL's true size, with random weights: loading, speed, memory and the promise.

    python benchmarks/true_size.py FILE [--device cuda] [--dtype fp16] [--size 1024] [--images 8]

Writes FILE (6.9 GB, SDXL's original layout) if it is not there. Then prints the seconds of loading
and of the images, the peak of memory, and whether an image made alone has the same bits.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batch_sdxl.core import Engine, ImageRequest, load_model
from batch_sdxl.core.models import sdxl_config
from batch_sdxl.core.models.load import DEMO_FOLDER
from batch_sdxl.core.numerics import device_class

Shape = tuple[int, ...]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--images", type=int, default=8)
    args = parser.parse_args()
    if not args.file.exists():
        write(args.file)
    begin = time.monotonic()
    model = load_model(args.file, device=args.device, dtype=args.dtype)
    print(
        f"{device_class(model.device)}, {model.dtype}: loaded in {time.monotonic() - begin:.0f} s"
    )
    requests = [
        ImageRequest(
            prompt="a (red:1.2) circle",
            seed=seed,
            num_inference_steps=args.steps,
            width=args.size,
            height=args.size,
        )
        for seed in range(args.images)
    ]
    engine = Engine(model)
    begin = time.monotonic()
    images = {image.index: image.decoded for image in engine.generate(requests)}
    seconds = time.monotonic() - begin
    calls = f"{engine.geometry_of(args.size, args.size).rows} rows a call"
    print(f"{len(images)} images of {args.steps} steps, {calls}: {seconds:.1f} s")
    print(f"peak of memory: {_peak(model.device) / 1e9:.1f} GB")
    (alone,) = engine.generate(requests[:1])
    print(f"alone the same bits: {torch.equal(alone.decoded, images[0])}")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write(path: Path) -> None:
    """Write the checkpoint, and CLIP's words beside it, of which the demo model's are enough.

    Weights are normal numbers of a size that keeps activations in range.
    """
    shapes = dict(_shapes())
    entries: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    numbers = np.random.default_rng(0).standard_normal(2**22, dtype=np.float32)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name, shape in shapes.items():
            if len(shape) > 1:
                values = np.resize(numbers * 0.8 / np.sqrt(np.prod(shape[1:])), shape)
            else:
                is_scale = name.endswith("weight")
                values = np.full(shape, float(is_scale))
            file.write(values.astype(np.float16).tobytes())
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(DEMO_FOLDER / "tokenizer" / name, path.parent / name)


def _shapes() -> Iterator[tuple[str, Shape]]:
    """Original names and shapes of all tensors, by the inverse that the tests have."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tests = Path(__file__).resolve().parents[1] / "tests" / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("layout", tests)
    assert spec is not None and spec.loader is not None
    layout = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layout)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**sdxl_config.UNET)
        vae = AutoencoderKL(**sdxl_config.VAE)
        first = CLIPTextModel(CLIPTextConfig(**sdxl_config.TEXT_ENCODER))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**sdxl_config.TEXT_ENCODER_2))
    for name, tensor in unet.state_dict().items():
        yield layout.UNET + layout.original_name(name), tuple(tensor.shape)
    for name, tensor in vae.state_dict().items():
        new, shape = layout.original_vae_name(name), tuple(tensor.shape)
        yield layout.VAE + new, shape + (1, 1) * (".attn_1." in new and len(shape) == 2)
    for name, tensor in first.state_dict().items():
        yield f"{layout.CLIP_L}text_model.{name.removeprefix('text_model.')}", tuple(tensor.shape)
    for name, tensor in layout.original_open_clip(second.state_dict()).items():
        yield name, tuple(tensor.shape)


if __name__ == "__main__":
    main()
