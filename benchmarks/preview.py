"""What live previews of a batch take of a run's time, and how soon they show what there is.

    python -m benchmarks preview [--model demo] [--images 24] [--steps 60] [--pairs 5]

Makes the same images with previews (drawn and encoded as JPEG, as ComfyUI has them) and without, in
turns, and prints the ratio of the shortest times, the share that drawing and encoding took by the
clock, seconds between two drawings, and from an image's end to its first drawing. All of these are
of the time after the first run, which warms up.
"""

from __future__ import annotations

import argparse
import io
import time
from itertools import pairwise
from statistics import median
from typing import Any

from batch_sdxl.core import Engine, ImageRequest, Progress, SizedRequest, load_model
from batch_sdxl.core.engine.preview.batch_preview import BatchPreview
from batch_sdxl.core.numerics import device_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `python -m benchmarks preview`."""
    parser.add_argument("--model", default="demo")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=5)


class Seen:
    """What there was to see of a run.

    Attributes:
        looking: seconds that it took.
        drawings: when each was done.
        waits: seconds from the end of an image to its first drawing.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.looking = 0.0
        self.drawings: list[float] = []
        self.waits: list[float] = []


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
    _make(engine, requests, Seen())
    times: dict[bool, list[float]] = {True: [], False: []}
    runs: list[Seen] = []
    for pair in range(args.pairs):
        for with_previews in (False, True) if pair % 2 else (True, False):
            own = Seen() if with_previews else None
            times[with_previews].append(_make(engine, requests, own))
            if own is not None:
                runs.append(own)
    seen, unseen = min(times[True]), min(times[False])
    shares = [own.looking / whole for own, whole in zip(runs, times[True], strict=True)]
    print(f"  without {unseen:.2f} s, with {seen:.2f} s: {seen / unseen:.3f}")
    print(f"  looking took {median(shares):.2%} (at most {max(shares):.2%})")
    gaps = [after - before for own in runs for before, after in pairwise(own.drawings)]
    waits = [wait for own in runs for wait in own.waits]
    for what, values in (("between two drawings", gaps), ("from an image's end to it", waits)):
        if values:
            print(f"  {what} {median(values):.2f} s (at most {max(values):.2f})")


def _make(engine: Engine, requests: list[SizedRequest], seen: Seen | None) -> float:
    """Seconds of a run, with previews if there is somebody to see them."""
    preview = _preview(engine.model, requests)
    ended: list[float] = []

    def look(progress: Progress) -> None:
        if seen is None:
            return
        begin = time.perf_counter()
        over = progress.images == progress.total_images
        sheet = preview.draw({lane.index: lane for lane in progress.running}, last=over)
        if sheet is not None:
            sheet.save(io.BytesIO(), "JPEG", quality=95)
            now = time.perf_counter()
            seen.drawings.append(now)
            seen.waits.extend(now - end for end in ended)
            ended.clear()
        seen.looking += time.perf_counter() - begin

    begin = time.perf_counter()
    for image in engine.generate(requests, on_step=look):
        preview.finish(image.index, image.pixels)
        ended.append(time.perf_counter())
    return time.perf_counter() - begin


def _preview(model: Any, requests: list[SizedRequest]) -> BatchPreview:
    return BatchPreview(model, [(r.width, r.height) for r in requests])
