"""Variations of a seed: the same noise, turned towards another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.request.parameters import parameters
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]


def request(**changes: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": "x", "seed": 1, "num_inference_steps": 2, **changes})


def test_no_strength_is_the_seed_and_full_strength_the_other_one(render: Render) -> None:
    plain, none, full, other, half = render(
        [
            request(),
            request(variation_seed=2, variation_strength=0.0),
            request(variation_seed=2, variation_strength=1.0),
            request(seed=2),
            request(variation_seed=2, variation_strength=0.5),
        ]
    )
    assert torch.equal(plain.decoded, none.decoded)
    assert (full.decoded - other.decoded).abs().max() < 1e-4
    assert not torch.equal(half.decoded, plain.decoded)


def test_the_noise_keeps_its_length() -> None:
    from batch_sdxl.core.engine.lane import _between

    one, other = (
        torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (1, 2)
    )
    for share in (0.1, 0.5, 0.9):
        assert _between(one, other, share).std() == pytest.approx(1, abs=0.03)
    assert torch.equal(_between(one, one, 0.5), one)


@pytest.mark.parametrize("image", [None, Image.new("RGB", (64, 64), "red")])
def test_variations_keep_the_promise(render: Render, image: Any) -> None:
    varied = [request(variation_seed=n, variation_strength=0.3, image=image) for n in range(3)]
    together = render([*varied, request(seed=9)])
    for one, shown in zip(varied, together, strict=False):
        (alone,) = render([one])
        assert torch.equal(alone.decoded, shown.decoded)
    assert not torch.equal(together[0].decoded, together[1].decoded)


def test_variations_are_in_the_record_and_the_identity(engine: Engine, render: Render) -> None:
    plain, varied = render([request(), request(variation_seed=2**64 - 1, variation_strength=0.25)])
    one, other = engine.describe(plain.request), engine.describe(varied.request)
    assert one.identity != other.identity
    assert "variation_seed" not in one.to_plain()["request"]
    assert other.request == varied.request
    assert "Variation seed: 18446744073709551615, Variation seed strength: 0.25" in parameters(
        other
    )
    unused = engine.describe(render([request(variation_seed=7)])[0].request)
    assert unused.identity == one.identity


@pytest.mark.parametrize("fields", [{"variation_strength": 1.1}, {"variation_seed": -1}])
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        request(**fields)
