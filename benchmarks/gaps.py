"""What a GPU does during a run, and for how long it waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from batch_sdxl.core import Engine, ImageRequest
from torch.profiler import ProfilerActivity, profile

#: Microseconds: shorter pauses between kernels are those of any launch.
SHORT = 10
TOP = 15


def rows(engine: Engine, requests: list[ImageRequest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of a table and a row of it: the gaps, then the kernels that take most of the time."""
    list(engine.generate(requests))
    on_gpu = engine.model.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as seen:
        begin = time.perf_counter()
        list(engine.generate(requests))
        took = time.perf_counter() - begin
    devices = torch.autograd.DeviceType  # type: ignore[attr-defined]
    kind = devices.CUDA if on_gpu else devices.CPU
    events = [event for event in seen.events() or [] if event.device_type == kind]
    spans = sorted((event.time_range.start, event.time_range.end) for event in events)
    covered, pauses = busy(spans)
    long = [pause for pause in pauses if pause > SHORT]
    yield (
        "gaps",
        {
            "images": len(requests),
            "seconds": took,
            "busy": covered / 1e6 / took,
            "kernels": len(spans),
            f"pauses over {SHORT} us": len(long),
            "ms in them": sum(long) / 1000,
            "longest, ms": max(long, default=0.0) / 1000,
        },
    )
    if on_gpu:
        times: Counter[str] = Counter()
        for event in events:
            times[event.name] += event.time_range.end - event.time_range.start
        top = [(name, float(spent)) for name, spent in times.most_common(TOP)]
    else:
        found = sorted(seen.key_averages(), key=lambda entry: -entry.self_cpu_time_total)[:TOP]
        top = [(entry.key, float(entry.self_cpu_time_total)) for entry in found]
    for name, spent in top:
        yield "kernels", {"name": name[:120], "share of the run": spent / 1e6 / took}


def busy(spans: list[tuple[float, float]]) -> tuple[float, list[float]]:
    """Microseconds covered by spans in the order of their starts, and the pauses between them."""
    total, pauses, end = 0.0, [], None
    for start, stop in spans:
        if end is None or start > end:
            if end is not None:
                pauses.append(start - end)
            total += stop - start
            end = stop
        elif stop > end:
            total += stop - end
            end = stop
    return total, pauses
