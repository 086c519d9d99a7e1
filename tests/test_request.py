from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import ImageRequest, SourceImage, combine
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage, InvalidRequest
from PIL import Image

GREY = Image.new("RGB", (64, 64), "grey")


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        (
            {"width": 100},
            "width that is a multiple of 8 pixels, got 100. The nearest are 96 and 104",
        ),
        ({"height": 0}, "height"),
        ({"width": -8}, "width"),
        ({"width": 64.0}, "width"),
        ({"num_inference_steps": 0}, "a number of steps of 1 to 10000, in whole numbers, got 0"),
        ({"guidance_scale": -1.0}, "guidance scale"),
        ({"guidance_scale": float("nan")}, "guidance scale"),
        ({"strength": 0.0}, "strength over 0"),
        ({"strength": 1.1}, "strength over 0"),
        ({"strength": 0.01, "image": GREY}, "at least one step"),
        ({"seed": -1}, "a seed of 0 to 18446744073709551615"),
        ({"seed": 2**64}, "a seed of 0 to 18446744073709551615"),
        ({"seed": True}, "a seed of 0 to 18446744073709551615"),
        ({"scheduler": "nope"}, "euler_ancestral"),
        ({"scheduler": "euler_ancestral:nope"}, "sgm_uniform"),
        ({"scheduler": "euler:"}, "name of a scheduler"),
        ({"prompt": ["a", "b"]}, "a prompt as one text"),
        ({"width": 128, "image": GREY}, "64"),
        ({"image": Image.new("RGB", (60, 64))}, "input image"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(**{"prompt": "x", "seed": 1, **fields})
    assert part in str(caught.value)
    assert isinstance(caught.value, BatchSDXLError)
    assert all((caught.value.expected, caught.value.got, caught.value.action))


@pytest.mark.parametrize("image", ["a.png", np.zeros((8, 8)), torch.full((8, 8, 3), 2.0)])
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(InvalidImage):
        ImageRequest(prompt="x", seed=1, image=image)


def test_a_nan_in_an_image_is_refused() -> None:
    pixels = torch.zeros(8, 8, 3)
    pixels[0, 0, 0] = torch.nan
    with pytest.raises(InvalidImage):
        SourceImage.of(pixels)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError):
        ImageRequest(prompt="x", seed=1, cfg=7.0)  # type: ignore[call-arg]


def test_requests_are_equal_when_their_pixels_are() -> None:
    array = np.full((64, 64, 3), 128, np.uint8)
    one, other = (ImageRequest(prompt="x", seed=1, image=i) for i in (GREY, array))
    assert one == other
    assert hash(one) == hash(other)
    assert one != ImageRequest(prompt="x", seed=1, image=array + 1)


def test_zip_pairs_and_shares_lists_of_one() -> None:
    assert combine("zip", prompts=["a", "b"], seeds=[1, 2]) == [("a", 1), ("b", 2)]
    assert combine("zip", prompts=["a"], seeds=[1, 2]) == [("a", 1), ("a", 2)]


def test_product_runs_the_last_list_fastest() -> None:
    rows = combine("product", prompts=["a", "b"], seeds=[1, 2])
    assert rows == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_cycle_repeats_the_shorter_list() -> None:
    rows = combine("cycle", prompts=["a", "b", "c"], seeds=[1, 2])
    assert rows == [("a", 1), ("b", 2), ("c", 1)]


def test_lengths_that_do_not_fit_are_both_named() -> None:
    with pytest.raises(InvalidRequest, match=r"4 prompts and 3 seeds.*product"):
        combine("zip", prompts=[1, 2, 3, 4], seeds=[1, 2, 3])


@pytest.mark.parametrize("mode", ["zip", "product", "cycle"])
def test_an_empty_list_is_named(mode: str) -> None:
    with pytest.raises(InvalidRequest, match="at least one of seeds"):
        combine(mode, prompts=["a"], seeds=[])


@pytest.mark.parametrize("values", ["a cat", None, 7, iter([1])])
def test_what_is_no_list_is_not_combined(values: Any) -> None:
    with pytest.raises(InvalidRequest, match="a list of prompts"):
        combine("zip", prompts=values)


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="zip, product, cycle"):
        combine("all", prompts=["a"], seeds=[1])
