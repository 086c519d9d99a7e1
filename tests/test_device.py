"""What a GPU is given and when, seen without one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from batch_sdxl.core import (
    Engine,
    GeneratedImage,
    Geometry,
    ImageRequest,
    Model,
    Progress,
    load_model,
    pinning,
)
from batch_sdxl.core.engine import run as engine_run
from batch_sdxl.core.engine.denoiser import Denoiser
from batch_sdxl.core.engine.diffusers_backend import DiffusersBackend
from batch_sdxl.core.engine.generated_image import Decoded
from batch_sdxl.core.engine.run import Listener, Run

REQUEST = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=3, width=64, height=64)
REQUESTS = [
    REQUEST,
    replace(REQUEST, scheduler="dpmpp_2m_sde:karras", num_inference_steps=4),
    replace(REQUEST, scheduler="euler_ancestral:normal", guidance_rescale=0.5),
    replace(REQUEST, guidance_scale=1.0, variation_seed=3, variation_strength=0.4),
]


def test_the_cpu_waits_for_nothing_while_images_are_made(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device whose tensors have no numbers, to look at one is an error."""
    monkeypatch.setitem(pinning._known, "meta", pinning._settings("cpu"))
    model = load_model(tiny_folder, device="meta", dtype="bf16", home="meta")
    backend = DiffusersBackend(model)
    nobody = cast("Any", None)
    tell = Listener(lambda progress: None, lambda index, error: None)
    making = Run(backend, Geometry(8), nobody, Denoiser(backend, nobody), tell)
    lanes = [making._begin(n, request.sized(64)) for n, request in enumerate(REQUESTS)]
    making._lanes = list(lanes)
    while making._lanes:
        making._tick()
        for lane in [lane for lane in making._lanes if lane.is_done]:
            making._lanes.remove(lane)
            assert lane.latents.device.type == "meta"
            assert backend.decode(lane.latents).device.type == "meta"
    with pytest.raises(RuntimeError):
        float(lanes[0].latents.sum())


def handed_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, requests: list[ImageRequest], **listeners: Any
) -> list[GeneratedImage]:
    """The images of an engine that takes its device for one that works beside the CPU."""
    monkeypatch.setattr(engine_run, "works_beside", lambda device: True)
    return list(engine.generate(requests, **listeners))


def test_images_are_handed_out_beside_the_next_call(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [replace(REQUEST, seed=seed, num_inference_steps=2 + seed % 3) for seed in range(9)]
    expected = list(engine.generate(requests))
    seen: list[tuple[int, int]] = []
    images = handed_out(
        engine, monkeypatch, requests, on_step=lambda p: seen.append((p.steps, p.images))
    )
    assert [image.index for image in images] == [image.index for image in expected]
    for image, other in zip(images, expected, strict=True):
        assert torch.equal(image.decoded, other.decoded)
        assert (image.pixels == other.pixels).all()
    assert seen[-1] == (sum(request.num_inference_steps for request in requests), 9)
    first = next(steps for steps, number in seen if number)
    assert first > 2 * 4, "the next call was made before the first was handed out"


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
def test_what_was_finished_is_handed_out_whenever_a_run_is_stopped(
    kind: type[BaseException], tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tiny, geometry=Geometry(4))  # images join while others are on their way
    finished: list[int] = []

    class Noted(Decoded):
        def __init__(self, backend: Any, lane: Any, *others: Any) -> None:
            super().__init__(backend, lane, *others)
            finished.append(lane.index)

    monkeypatch.setattr(engine_run, "works_beside", lambda device: True)
    monkeypatch.setattr(engine_run, "Decoded", Noted)
    requests = [replace(REQUEST, seed=n, num_inference_steps=1 + n % 2) for n in range(5)]
    told: list[Progress] = []
    list(engine.generate(requests, on_step=told.append))
    for last in range(len(told)):
        finished.clear()
        left = iter(range(last))
        handed: list[int] = []

        def stop(_: Progress, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise kind

        with pytest.raises(kind):
            handed.extend(image.index for image in engine.generate(requests, on_step=stop))
        assert handed == finished
