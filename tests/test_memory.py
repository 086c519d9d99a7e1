"""A run of many images takes no more memory than a run of a few."""

import copy
import gc
import weakref
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model
from batch_sdxl.core.images.source import SourceImage
from batch_sdxl.core.models.footprint import LiveTensors
from batch_sdxl.core.text import encoder


def peak(model: Model, requests: Iterable[ImageRequest]) -> int:
    """Most bytes of tensors alive at once, beside the weights, for a caller who keeps no image."""
    engine = Engine(model, geometry=Geometry(4))
    with LiveTensors() as living:
        for image in engine.generate(requests):
            del image
    return int(living.peak)


def requests(number: int, **fields: Any) -> list[ImageRequest]:
    usual: dict[str, Any] = {"prompt": "a red circle", "num_inference_steps": 2}
    return [ImageRequest(seed=seed, **usual | fields) for seed in range(number)]


@pytest.fixture(autouse=True, scope="module")
def _tried(tiny: Model) -> None:
    """Which calls agree is known."""
    list(Engine(tiny, geometry=Geometry(4)).generate(requests(2)))


def test_the_count_sees_what_is_kept() -> None:
    with LiveTensors() as living:
        kept = [torch.zeros(1000) for _ in range(3)]
        del kept
        torch.zeros(500)
    assert living.peak == 3 * 4000


def test_text_to_image(tiny: Model) -> None:
    assert peak(tiny, requests(24)) == peak(tiny, requests(4))


def test_image_to_image(tiny: Model) -> None:
    draw = np.random.default_rng(0)

    def painted(number: int) -> list[ImageRequest]:
        return [
            ImageRequest(
                prompt="a red circle",
                seed=seed,
                num_inference_steps=2,
                strength=1.0,
                image=SourceImage.of(draw.integers(0, 256, (64, 64, 3), np.uint8)),
            )
            for seed in range(number)
        ]

    assert peak(tiny, painted(12)) == peak(tiny, painted(4))


def test_of_several_sizes_and_samplers(tiny: Model) -> None:
    def mixed(number: int) -> list[ImageRequest]:
        return [
            *requests(number, width=96, scheduler="dpmpp_2m"),
            *requests(number, scheduler="lms", guidance_scale=1.0),
        ]

    peak(tiny, mixed(4))  # what sizes of calls are good for on this machine is tried out
    assert peak(tiny, mixed(8)) == peak(tiny, mixed(4))


def test_many_prompts_fill_the_cache_and_no_more(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "CACHE_SIZE", 4)

    def told_apart(number: int) -> list[ImageRequest]:
        return [ImageRequest(prompt=f"{n}", seed=n, num_inference_steps=1) for n in range(number)]

    filled = peak(tiny, told_apart(12))
    assert peak(tiny, told_apart(24)) == filled > peak(tiny, told_apart(2))


def test_a_model_is_gone_with_its_engine(tiny: Model) -> None:
    """Without a search for garbage: a circle would keep its memory for who knows how long."""
    model = replace(tiny, unet=copy.deepcopy(tiny.unet))
    parts = [weakref.ref(part) for part in model.unet.modules()]
    engine = Engine(model)
    gc.collect()
    gc.disable()
    try:
        list(engine.generate(requests(2)))
        del engine, model
        assert not any(part() for part in parts)
    finally:
        gc.enable()
