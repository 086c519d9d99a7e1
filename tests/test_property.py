"""Random batches: every image equals itself made alone, bit for bit."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from batch_sdxl.core import GeneratedImage, ImageRequest
from batch_sdxl.core.images.source import SourceImage
from batch_sdxl.core.samplers.spacings import SPACINGS
from batch_sdxl.core.samplers.table import SAMPLERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

NAMES = [
    *SAMPLERS,
    *(f"{name}:{spacing}" for name in SAMPLERS for spacing in SPACINGS),
]
SIZES = [(64, 64), (80, 64), (64, 96)]


@cache
def source(width: int, height: int) -> SourceImage:
    return SourceImage.of(Image.effect_noise((width, height), 70).convert("RGB"))


@st.composite
def requests(draw: st.DrawFn) -> ImageRequest:
    width, height = draw(st.sampled_from(SIZES))
    image = source(width, height) if draw(st.booleans()) else None
    steps = draw(st.integers(1, 4))
    strength = draw(st.sampled_from([1.0, 0.75, 0.5]))
    return ImageRequest(
        prompt=draw(st.sampled_from(["", "a red circle", "two green squares", "Ω 🎨"])),
        negative_prompt=draw(st.sampled_from(["", "dim"])),
        seed=draw(st.sampled_from([0, 1, 2**53 + 1, 2**64 - 1])),
        width=width,
        height=height,
        num_inference_steps=steps if image is None else max(steps, 2),
        guidance_scale=draw(st.sampled_from([0.0, 1.0, 1.5, 7.0])),
        scheduler=draw(st.sampled_from(NAMES)),
        strength=strength,
        image=image,
    )


def check(render: Render, batch: list[ImageRequest]) -> None:
    together = render(batch)
    for request, image in zip(batch, together, strict=True):
        (alone,) = render([request])
        assert torch.equal(alone.decoded, image.decoded)


RELAXED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@settings(max_examples=5, derandomize=True, **RELAXED)  # type: ignore[arg-type]
@given(batch=st.lists(requests(), min_size=2, max_size=6))
def test_a_sample_of_random_batches(render: Render, batch: list[ImageRequest]) -> None:
    check(render, batch)


@pytest.mark.slow
@settings(max_examples=200, **RELAXED)  # type: ignore[arg-type]
@given(batch=st.lists(requests(), min_size=2, max_size=10))
def test_two_hundred_random_batches(render: Render, batch: list[ImageRequest]) -> None:
    check(render, batch)
