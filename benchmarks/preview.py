"""What live previews of a batch take of a run's time.

    python -m benchmarks preview [--model demo] [--images 24] [--steps 30] [--pairs 5]

Makes the same images with previews (drawn and encoded as JPEG, as ComfyUI has them) and without, in
turns, and prints the ratio of the shortest times, and the share that drawing and encoding took by
the clock. Both are of the time after the first run, which warms up.
"""

from __future__ import annotations

import argparse
import io
import time
from statistics import median
from typing import Any

from batch_sdxl.core import Engine, ImageRequest, Progress, SizedRequest, load_model
from batch_sdxl.core.engine.preview.batch_preview import BatchPreview
from batch_sdxl.core.numerics import device_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `python -m benchmarks preview`."""
    parser.add_argument("--model", default="demo")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=5)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    model = load_model(args.model)
    engine = Engine(model)
    requests = [
        engine.with_size(
            ImageRequest(prompt=f"a red circle, {n}", seed=n, num_inference_steps=args.steps)
        )
        for n in range(args.images)
    ]
    print(f"{device_class(model.device)}, {args.images} images of {args.steps} steps")
    _make(engine, requests, with_previews=True)
    times: dict[bool, list[float]] = {False: [], True: []}
    shares, counts = [], []
    for pair in range(args.pairs):
        for with_previews in (False, True) if pair % 2 else (True, False):
            seconds, looking, sheets = _make(engine, requests, with_previews=with_previews)
            times[with_previews].append(seconds)
            if with_previews:
                shares.append(looking / seconds)
                counts.append(sheets)
    seen, unseen = min(times[True]), min(times[False])
    print(f"  without {unseen:.2f} s, with {seen:.2f} s: {seen / unseen:.3f}")
    print(f"  looking took {median(shares):.2%} (at most {max(shares):.2%}), {counts} drawings")


def _make(
    engine: Engine, requests: list[SizedRequest], *, with_previews: bool
) -> tuple[float, float, int]:
    """Seconds of a run, those of them that its previews took, and how many there were."""
    preview = _preview(engine.model, requests) if with_previews else None
    looking, sheets = 0.0, 0

    def look(progress: Progress) -> None:
        nonlocal looking, sheets
        if preview is None:
            return
        begin = time.perf_counter()
        over = progress.images == progress.total_images
        sheet = preview.draw({lane.index: lane for lane in progress.running}, last=over)
        if sheet is not None:
            sheet.save(io.BytesIO(), "JPEG", quality=95)
            sheets += 1
        looking += time.perf_counter() - begin

    begin = time.perf_counter()
    for image in engine.generate(requests, on_step=look):
        if preview is not None:
            preview.finish(image.index, image.pixels)
    return time.perf_counter() - begin, looking, sheets


def _preview(model: Any, requests: list[SizedRequest]) -> BatchPreview:
    return BatchPreview(model, [(r.width, r.height) for r in requests])
