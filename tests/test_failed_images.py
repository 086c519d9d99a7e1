"""An image that comes out as NaN is told as that row's error, and harms no other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model, Progress
from batch_sdxl.core.engine import run
from batch_sdxl.core.errors import FailedImage
from diffusers import AutoencoderKL, UNet2DConditionModel

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

REQUESTS = [
    ImageRequest(prompt="x", seed=n, num_inference_steps=2, guidance_scale=1.0) for n in range(3)
]


@pytest.fixture
def spoil_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The UNet gives NaN for the second row of each call."""
    forward = UNet2DConditionModel.forward

    def spoiled(self: Any, sample: torch.Tensor, *args: Any, **named: Any) -> Any:
        result = forward(self, sample, *args, **named)
        if len(sample) > 2:
            (result[0] if isinstance(result, tuple) else result.sample)[1] = float("nan")
        return result

    monkeypatch.setattr(UNet2DConditionModel, "forward", spoiled)


@pytest.mark.parametrize("beside", [False, True], ids=["a CPU", "a device beside the CPU"])
def test_a_row_of_nan_fails_alone(
    engine: Engine,
    render: Render,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    beside: bool,
) -> None:
    expected = render(REQUESTS)
    monkeypatch.setattr(run, "works_beside", lambda device: beside)
    request.getfixturevalue("spoil_second")
    failed: dict[int, FailedImage] = {}
    images = {
        image.index: image.pixels
        for image in engine.generate(REQUESTS, on_failure=failed.__setitem__)
    }
    assert failed.keys() == {1}
    assert "latents" in str(failed[1])
    assert images.keys() == {0, 2}
    assert all(np.array_equal(pixels, expected[n].pixels) for n, pixels in images.items())


def test_unless_somebody_listens_it_ends_the_run(engine: Engine, spoil_second: None) -> None:
    images = engine.generate(REQUESTS)
    assert next(images).index == 0
    with pytest.raises(FailedImage, match="NaN"):
        next(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_pixels_that_are_no_numbers_are_no_black_image(
    engine: Engine, tiny: Model, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    decode = AutoencoderKL.decode

    def spoiled(self: Any, latents: torch.Tensor, **named: Any) -> Any:
        result = decode(self, latents, **named)
        result[0][0, 0, 0, 0] = value
        return result

    monkeypatch.setattr(AutoencoderKL, "decode", spoiled)
    failed: dict[int, FailedImage] = {}
    told: list[Progress] = []
    listeners: dict[str, Any] = {"on_failure": failed.__setitem__, "on_step": told.append}
    assert not list(engine.generate(REQUESTS, **listeners))
    assert failed.keys() == {0, 1, 2}
    assert told[-1].running == (), "what failed is no longer in work"
    assert "pixels" in str(failed[0])
