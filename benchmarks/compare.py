"""The same requests through Batch SDXL, diffusers, bare calls, and ComfyUI where it is.

    python -m benchmarks [--output DIR] [--short] [--models small mid true]

Everybody takes turns in every round, so that what else the machine does falls on all alike; times
are medians, and a ratio is the median of the rounds' own ratios. diffusers cuts longer prompts off
at 77 tokens, so mixed work is a little less for it. With COMFYUI_DIR set to a checkout of ComfyUI
(and COMFYUI_PYTHON to its interpreter), its KSampler takes part, except with the built-in model.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model
from batch_sdxl.core.numerics import device_class

from . import contestants
from .clock import peak_memory
from .comfyui import ComfyUI
from .contestants import Make
from .floor import ROWS, Floor
from .models import SIZES, make, untouched
from .plot import plot
from .results import Results
from .workloads import WORKLOADS

#: Size -> images and steps of a workload.
_WORK = {"tiny": (16, 20), "small": (16, 20), "mid": (8, 10), "true": (8, 20)}
_SHORT = {"tiny": (3, 2), "small": (8, 8), "mid": (2, 2), "true": (4, 4)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `python -m benchmarks compare`."""
    on_gpu = torch.cuda.is_available()
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), help="folder for the results"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=SIZES,
        default=list(SIZES) if on_gpu else ["small", "mid"],
        help="the built-in one, a quarter of SDXL's width, SDXL's size",
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--pixels", type=int, help="width and height of images, in place of each model's own"
    )
    parser.add_argument("--short", action="store_true", help="fewer images and steps")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--dtype", default="fp16" if on_gpu else "fp32")
    parser.add_argument(
        "--rows", nargs="+", type=int, default=ROWS, help="of the bare calls and the plot"
    )
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="ours compiled too, with minutes for each shape; on CUDA all have its weights, which "
        "lie channels last",
    )
    parser.add_argument("--no-plot", action="store_true", help="leave out speed against rows")


def run(args: argparse.Namespace) -> None:
    """Compare, model by model."""
    device = torch.device(args.device)
    results = Results(args.output, "Batch SDXL beside others")
    results.add(
        "machine",
        device=device_class(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        dtype=args.dtype,
    )
    for size in args.models:
        model = make(size, device, args.dtype)
        theirs = untouched(model)
        images, steps = (_SHORT if args.short else _WORK)[size]
        pixels = args.pixels or model.native_size
        with ExitStack() as stack:
            comfyui = None
            if "COMFYUI_DIR" in os.environ and size != "small":
                comfyui = stack.enter_context(ComfyUI(model))
            floor = Floor(theirs, pixels, args.rows)
            results.add("best calls", model=size, shape=floor.shape)
            for name in args.workloads:
                requests = WORKLOADS[name](images, steps, pixels)
                ways = _ways(model, contestants.pipeline(theirs), name, floor, comfyui)
                if args.compiled:
                    own = replace(model, spec=replace(model.spec, compiled=True))
                    ways["ours, compiled"] = contestants.ours(Engine(own))
                _compare(results, size, name, requests, ways, args.rounds, device)
        if not args.no_plot:
            _plot(results, model, contestants.pipeline(theirs), size, floor, steps)
    print("\n" + results.markdown())


def _ways(
    model: Model, pipe: Any, workload: str, floor: Floor, comfyui: ComfyUI | None
) -> dict[str, Make]:
    """Name -> how it makes images; ours first."""
    engine = Engine(model)
    one_by_one = workload in ("alone", "tries")
    ways: dict[str, Make] = {}
    if workload == "alone":
        # What an engine finds out about the machine is part of one image's price.
        ways["ours"] = lambda requests: contestants.ours(Engine(model))(requests)
    elif workload == "tries":
        ways["ours"] = lambda requests: [list(engine.generate([r])) for r in requests]
    else:
        ways["ours"] = contestants.ours(engine)
        ways["diffusers, list call"] = contestants.list_call(pipe)
    ways["diffusers, loop"] = contestants.loop(pipe)
    ways["bare calls"] = (lambda requests: [floor([r]) for r in requests]) if one_by_one else floor
    if comfyui is not None:
        ways["ComfyUI, one by one"] = comfyui.one_by_one
        if not one_by_one:
            ways["ComfyUI, one prompt for all"] = comfyui.batches
    return ways


def _compare(
    results: Results,
    size: str,
    workload: str,
    requests: Sequence[ImageRequest],
    ways: dict[str, Make],
    rounds: int,
    device: torch.device,
) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, int | None] = {}
    names = list(ways)
    for name in names:
        with peak_memory(device, counted=True) as peak:
            ways[name](requests)
        peaks[name] = peak.bytes
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begin = time.perf_counter()
            ways[name](requests)
            times[name].append(time.perf_counter() - begin)
    ours = times["ours"]
    for name, own in times.items():
        known = peaks[name] is not None and not name.startswith("ComfyUI")
        results.add(
            "compared",
            model=size,
            work=workload,
            images=len(requests),
            by=name,
            seconds=median(own),
            **{"images/s": len(requests) / median(own)},
            **{"ours is x times as fast": median(a / b for a, b in zip(own, ours, strict=True))},
            **{"peak, GB": (peaks[name] or 0) / 1e9 if known else None},
        )


def _plot(results: Results, model: Model, pipe: Any, size: str, floor: Floor, steps: int) -> None:
    """Images a second by rows of a call, UNet and VAE."""
    lines: dict[str, dict[int, float]] = {"ours": {}, "diffusers, list call": {}, "bare calls": {}}
    for rows in sorted({rows for _, rows in floor.per_row}):
        requests = contestants.uniform(rows // 2, steps, floor.pixels)
        engine = Engine(model, geometry=Geometry(rows))
        best = min(time for (_, count), time in floor.per_row.items() if count == rows)
        for name, way in {
            "ours": contestants.ours(engine),
            "diffusers, list call": contestants.list_call(pipe),
        }.items():
            way(contestants.uniform(rows // 2, 1, floor.pixels))
            begin = time.perf_counter()
            way(requests)
            lines[name][rows] = len(requests) / (time.perf_counter() - begin)
        lines["bare calls"][rows] = 1 / (2 * steps * best)
        results.add("by rows", model=size, rows=rows, **{k: v[rows] for k, v in lines.items()})
    title = f"images/s, {size} model, {steps} steps, guided ({model.dtype})"
    picture = plot(title, "rows of a UNet call (bare calls: without the VAE)", lines)
    (results.folder / f"rows_{size}.svg").write_text(picture, "utf-8")
