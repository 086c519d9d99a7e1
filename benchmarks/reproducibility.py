"""How many images of a batch are those made one by one: diffusers' list call, and Batch SDXL.

    python -m benchmarks reproducibility [--model demo] [--images 8] [--steps 20]

Prints the table of docs/reproducibility.md. Both sides get the same prompts, one generator an image
with the same seeds, the same model, dtype and scheduler.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, load_model
from batch_sdxl.core.numerics import device_class
from numpy.typing import NDArray

from .contestants import list_call, pipeline

#: Ours -> diffusers' class, and what it is set to.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "uni_pc_bh2": ("UniPCMultistepScheduler", {"solver_type": "bh2"}),
}
PROMPTS = [
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a green square on a white background",
    "a purple heart on an orange background",
]

Pixels = NDArray[np.uint8]
Make = Callable[[list[int]], list[Pixels]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `python -m benchmarks reproducibility`."""
    parser.add_argument("--model", default="demo")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"])


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    print("| dtype | scheduler | made by | images that differ | pixels that differ | by at most |")
    print("|---|---|---|---|---|---|")
    for dtype in args.dtypes:
        model = load_model(args.model, dtype=dtype)
        for scheduler in SCHEDULERS:
            requests = [
                ImageRequest(
                    prompt=PROMPTS[k % len(PROMPTS)],
                    seed=k,
                    scheduler=scheduler,
                    num_inference_steps=args.steps,
                    width=model.native_size,
                    height=model.native_size,
                )
                for k in range(args.images)
            ]
            for name, make in (
                ("diffusers, list call", _diffusers(model, requests)),
                ("Batch SDXL", _ours(model, requests)),
            ):
                images, pixels, largest = _compare(make, args.images)
                print(
                    f"| {dtype} | {scheduler} | {name} | {images} of {args.images} "
                    f"| {pixels:.2%} | {largest} of 255 |",
                    flush=True,
                )
    print(f"\n{device_class(model.device)}, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}, {args.steps} steps")


def _compare(make: Make, count: int) -> tuple[int, float, int]:
    """Images that differ, the share of all pixels, the largest difference of a channel."""
    together = np.stack(make(list(range(count)))).astype(int)
    alone = np.stack([make([k])[0] for k in range(count)]).astype(int)
    difference = np.abs(together - alone).max(axis=-1)
    changed = difference > 0
    return int(changed.any(axis=(1, 2)).sum()), float(changed.mean()), int(difference.max())


def _ours(model: Model, requests: list[ImageRequest]) -> Make:
    engine = Engine(model)

    def make(which: list[int]) -> list[Pixels]:
        images = engine.generate([requests[k] for k in which])
        return [image.pixels for image in sorted(images, key=lambda image: image.index)]

    return make


def _diffusers(model: Model, requests: list[ImageRequest]) -> Make:
    import diffusers

    pipe = pipeline(model)
    class_name, settings = SCHEDULERS[requests[0].scheduler]
    scheduler_class = getattr(diffusers, class_name)
    pipe.scheduler = scheduler_class.from_config(model.scheduler_config, **settings)
    run = list_call(pipe)

    def make(which: list[int]) -> list[Pixels]:
        images = run([requests[k] for k in which])
        return [(image * 255).round().astype(np.uint8) for image in images]

    return make
