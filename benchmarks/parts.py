"""The measurements of a GPU, each of which takes what time it is given."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from batch_sdxl.core import Engine, Geometry
from batch_sdxl.core.numerics import device_class
from batch_sdxl.core.pinning import pinned

from . import contestants, gaps, promise, vae
from .calls import call_unet, captured, unet_inputs
from .clock import Budget, peak_memory, seconds, wait_for
from .flags import SETTINGS
from .session import Session

ROOT = Path(__file__).resolve().parents[1]


def machine(session: Session, budget: Budget) -> None:
    """What it is, and its ceilings."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("torch", "diffusers", "transformers", "triton"):
        with suppress(PackageNotFoundError):
            session.add("machine", what=name, value=version(name))
    session.add("machine", what="device", value=device_class(session.device))
    session.add("machine", what="threads", value=torch.get_num_threads())
    if session.device.type == "cuda":
        session.add("machine", what="CUDA", value=str(torch.version.cuda))
        session.add("machine", what="cuDNN", value=str(torch.backends.cudnn.version()))  # type: ignore[no-untyped-call]
        size = 2**32
        one = torch.empty(size, dtype=torch.uint8, device=session.device).random_()
        other = torch.empty_like(one)
        rate = 2 * size / seconds(lambda: other.copy_(one), session.device, 0.3)
        session.add("machine", what="copy, TB/s", value=rate / 1e12)
    for dtype, rate in session.rate.items():
        session.add("machine", what=f"matrix product {dtype}, TFLOP/s", value=rate / 1e12)
    row, image = session.work
    session.add("machine", what="UNet row, TFLOP", value=row / 1e12)
    session.add("machine", what="VAE image, TFLOP", value=image / 1e12)
    for steps in session.scale.steps:
        floor = session.floor(session.half[0], steps)
        session.add("machine", what=f"floor of {steps} steps, images/s", value=1 / floor)


def promises(session: Session, budget: Budget) -> None:
    """A row's bits in the engine's calls, and images alone against in company."""
    for dtype in session.half:
        model = session.model(dtype)
        for pixels in session.scale.pixels:
            if not budget.left:
                return
            with pinned(session.device):
                verdict = promise.judge(model, pixels, session.scale.few)
            rows = session.scale.few[-1]
            differ, largest = promise.images(model, pixels, rows, 2, rows // 2 + 2)
            session.add(
                "promise: calls and images",
                dtype=dtype,
                pixels=pixels,
                **verdict._asdict(),
                **{"images that differ of 2": differ, "by": largest},
            )


def operations_of_a_call(session: Session, budget: Budget) -> None:
    """Which operations make bits depend on the rows, and by which kernels."""
    # The other way round, for the sake of the model that is there and of the one that comes next.
    for share, dtype in zip((2, 1), reversed(session.half), strict=True):
        time_left = budget.part(budget.left / share)
        for pixels in session.scale.pixels:
            if not time_left.left:
                break
            counts = list(session.scale.few)
            model = session.model(dtype)
            with pinned(session.device):
                seen, found = promise.try_operations(model, pixels, counts, time_left)
            place = {"dtype": dtype, "pixels": pixels}
            for finding, used in found:
                session.add("promise: operations", **place, used=used, **finding._asdict())
            session.add(
                "promise: operations tried",
                **place,
                tried=len(seen.findings),
                vary=sum(not finding.holds for finding in seen.findings.values()),
                untried=", ".join(f"{name} {n}" for name, n in seen.untried.items()),
            )


def flags(session: Session, budget: Budget) -> None:
    """What each setting does to bits and to speed, in the fullest call of the engine."""
    model, pixels = session.model(session.half[0]), session.scale.pixels[0]
    counts = session.scale.few
    inputs = unet_inputs(model, counts[-1], pixels)
    usual = None
    on_gpu = session.device.type == "cuda"
    for name, setting in SETTINGS.items():
        if not budget.left or (usual and not on_gpu):
            return  # all but the first are of CUDA
        try:
            with setting(session.device), torch.inference_mode():
                output = call_unet(model.unet, inputs)
                took = seconds(
                    lambda: call_unet(model.unet, inputs), session.device, session.scale.spend
                )
                verdict = promise.judge(model, pixels, counts)
        except (RuntimeError, AttributeError, TypeError) as error:
            session.add("promise: flags", setting=name, error=f"{error}"[:200])
            continue
        usual = usual or (took, output)
        session.add(
            "promise: flags",
            setting=name,
            **{"ms a call": 1000 * took, "of the engine's": took / usual[0]},
            **verdict._asdict(),
            **{"engine's bits": torch.equal(output, usual[1])},
        )


def speed(session: Session, budget: Budget) -> None:
    """UNet calls by rows and by how they are made; shares are of the floor of the same work."""
    dtype = session.half[0]
    unet = session.model(dtype).unet
    formats = {"eager": torch.contiguous_format, "channels-last": torch.channels_last}
    try:
        for name, memory_format in formats.items():
            unet.to(memory_format=memory_format)
            _calls(session, budget, name, dtype, unet)
            if session.device.type == "cuda":
                _calls(session, budget, f"{name}, CUDA graph", dtype, unet, graph=True)
    finally:
        unet.to(memory_format=torch.contiguous_format)


def compiled(session: Session, budget: Budget) -> None:
    """The same, compiled; and whether a row's bits hold there. It takes long, so it comes last."""
    dtype, (least, *_, most) = session.half[0], session.scale.few
    unet = session.model(dtype).unet
    torch._dynamo.reset()
    unet.to(memory_format=torch.channels_last)
    limits = torch._dynamo.config.patch(recompile_limit=64, accumulated_recompile_limit=1024)
    with pinned(session.device), limits:
        blocks = "compiled blocks, channels-last"
        unet.compile_repeated_blocks(fullgraph=True, dynamic=False)
        _calls(session, budget, blocks, dtype, unet, (most, least))
        if session.device.type == "cuda":
            _calls(session, budget, f"{blocks}, CUDA graph", dtype, unet, (most, least), graph=True)
        if budget.left:
            verdict = promise.judge(session.model(dtype), session.scale.pixels[0], (least, most))
            session.add("promise: compiled", how=blocks, **verdict._asdict())
        for block in unet.modules():
            block._compiled_call_impl = None
        # Whole: much more to compile, and nothing stops it when time is up.
        if budget.left > 60:
            whole = torch.compile(unet, fullgraph=True, dynamic=False)
            _calls(session, budget, "compiled whole, channels-last", dtype, whole, (most,))
    unet.to(memory_format=torch.contiguous_format)
    torch._dynamo.reset()


def _calls(
    session: Session,
    budget: Budget,
    how: str,
    dtype: str,
    unet: Any,
    only: Iterable[int] | None = None,
    *,
    graph: bool = False,
) -> None:
    model, pixels = session.model(dtype), session.scale.pixels[0]
    for rows in only or session.scale.rows:
        if not budget.left:
            return
        inputs = unet_inputs(model, rows, pixels)
        with pinned(session.device), torch.inference_mode():
            begin = time.perf_counter()
            expected = call_unet(unet, inputs)
            call: Callable[[], Any] = (
                captured(unet, inputs) if graph else partial(call_unet, unet, inputs)
            )
            same = torch.equal(call(), expected)
            wait_for(session.device)
            start = time.perf_counter() - begin
            with peak_memory(session.device) as peak:
                took = seconds(call, session.device, session.scale.spend)
        floor = rows * session.work[0] / session.rate[dtype]
        session.add(
            "UNet calls",
            how=how,
            dtype=dtype,
            pixels=pixels,
            rows=rows,
            **{"ms": 1000 * took, "ms a row": 1000 * took / rows, "share of floor": floor / took},
            **{f"images/s, {n} steps": rows / (2 * n * took) for n in session.scale.steps},
            **{"first call, s": start, "peak, GB": _gigabytes(peak.bytes), "repeats": same},
        )


def whole_images(session: Session, budget: Budget) -> None:
    """Ours against diffusers' list call and its loop: images/s, guided, from text to pixels."""
    usual = session.scale.few[-1]
    rows = dict.fromkeys((usual, session.scale.rows[-1], usual // 2))
    _images(session, budget, session.half[0], tuple(rows))


def whole_images_in_the_other_half(session: Session, budget: Budget) -> None:
    """The same in bf16, at the usual rows."""
    _images(session, budget, session.half[1], session.scale.few[-1:])


def _images(session: Session, budget: Budget, dtype: str, all_rows: tuple[int, ...]) -> None:
    model, pixels = session.model(dtype), session.scale.pixels[0]
    pipe = contestants.pipeline(model)
    ways: list[tuple[str, int, int, contestants.Make]] = [
        ("ours", rows, rows // 2, contestants.ours(Engine(model, geometry=Geometry(rows))))
        for rows in all_rows
    ]
    usual = all_rows[0]
    ways.insert(1, ("diffusers, list call", usual, usual // 2, contestants.list_call(pipe)))
    ways.insert(2, ("diffusers, loop", 2, 2, contestants.loop(pipe)))
    for steps in session.scale.steps:
        for name, rows, images, run in ways:
            if not budget.left:
                return
            run(contestants.uniform(1, 1, pixels))
            with peak_memory(session.device) as peak:
                begin = time.perf_counter()
                run(contestants.uniform(images, steps, pixels))
                took = (time.perf_counter() - begin) / images
            session.add(
                "whole images",
                by=name,
                dtype=dtype,
                pixels=pixels,
                steps=steps,
                rows=rows,
                **{"images/s": 1 / took, "share of floor": session.floor(dtype, steps) / took},
                **{"peak, GB": _gigabytes(peak.bytes)},
            )


def decoding(session: Session, budget: Budget) -> None:
    """The VAE in each precision, alone and in eights."""
    for row in vae.rows(
        session.model(session.half[0]), session.scale.pixels[0], session.scale.spend / 2, budget
    ):
        session.add("VAE decode", **row)


def waiting(session: Session, budget: Budget) -> None:
    """Where a run's time goes between and within the UNet calls."""
    model = session.model(session.half[0])
    rows = session.scale.few[-1]
    requests = contestants.uniform(rows // 2, 3, session.scale.pixels[0])
    for part, row in gaps.rows(Engine(model, geometry=Geometry(rows)), requests):
        session.add(part, rows=rows, **row)


def memory(session: Session, budget: Budget) -> str | None:
    """The peak of a run beside what `batch-sdxl doctor` says it will be."""
    from batch_sdxl.core.models.footprint import footprint

    if session.scale.model != "true":
        return "only with --size true"  # the estimate is of SDXL as it was published
    model = session.model(session.half[0])
    needs = footprint(None, model.dtype)
    for pixels in (*session.scale.pixels, session.scale.pixels[0] * 3 // 2):
        if not budget.left:
            return None
        engine = Engine(model)
        geometry = engine.geometry_of(pixels, pixels)
        with peak_memory(session.device, counted=True) as peak:
            contestants.ours(engine)(contestants.uniform(geometry.rows // 2, 1, pixels))
        # On a CPU only new tensors are counted.
        weights = 0 if session.device.type == "cuda" else needs.weights
        estimate = needs.peak(pixels, pixels, geometry) - weights
        session.add(
            "memory",
            pixels=pixels,
            rows=geometry.rows,
            **{"peak, GB": _gigabytes(peak.bytes), "doctor's estimate, GB": estimate / 1e9},
        )
    return None


def tests(session: Session, budget: Budget) -> str | None:
    """`pytest -m gpu`."""
    if session.device.type != "cuda":
        return "only with CUDA"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=budget.left
        )
    except subprocess.TimeoutExpired:
        session.add("pytest -m gpu", outcome="no time")
        return None
    lines = done.stdout.strip().splitlines()[-12:]
    session.add("pytest -m gpu", outcome=lines[-1] if lines else done.stderr[-300:], log=lines)
    return None


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e9


#: Name -> what it does, which returns why there is nothing to be done here, and the most seconds
#: that it may take; most important first.
PARTS: dict[str, tuple[Callable[[Session, Budget], str | None], float]] = {
    "machine": (machine, 20),
    "promise": (promises, 60),
    "operations": (operations_of_a_call, 60),
    "flags": (flags, 60),
    "speed": (speed, 60),
    "images": (whole_images, 90),
    "vae": (decoding, 25),
    "memory": (memory, 20),
    "gaps": (waiting, 20),
    "tests": (tests, 60),
    "compiled": (compiled, 150),
    "bf16": (whole_images_in_the_other_half, 40),
}
