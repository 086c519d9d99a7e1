from typing import Any

import pytest
from batch_sdxl.core import SourceImage
from batch_sdxl.core.errors import BatchSDXLError, InvalidRequest
from batch_sdxl.core.prompts.plan import plan, summary
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.request.image_request import ImageRequest
from PIL import Image

SHARED: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 5}


def source(name: str) -> SourceImage:
    return SourceImage.of(Image.new("RGB", (64, 64), name), name)


def make(
    *prompts: Prompt, seeds: list[int] | None = None, images: Any = None, mode: str = "zip"
) -> list[ImageRequest]:
    planned = plan(mode, prompts, seeds, images, None, SHARED, source)
    return [one.request for one in planned]


def test_a_product_keeps_the_images_of_a_prompt_together() -> None:
    made = make(Prompt("a"), Prompt("b", "dim"), seeds=[1, 2], mode="product")
    assert [(r.prompt, r.negative_prompt, r.seed) for r in made] == [
        ("a", "", 1),
        ("a", "", 2),
        ("b", "dim", 1),
        ("b", "dim", 2),
    ]
    assert all(r.width == 64 and r.num_inference_steps == 5 for r in made)


def test_a_row_wins_over_what_is_shared() -> None:
    own = Settings({"seed": 7, "num_inference_steps": 9, "width": 80})
    (one,) = make(Prompt("a", settings=own))
    assert (one.seed, one.num_inference_steps, one.width, one.height) == (7, 9, 80, 64)


def test_a_list_wins_over_a_row() -> None:
    own = Settings({"seed": 7, "image": "red", "strength": 0.4})
    (one,) = make(Prompt("a", settings=own), seeds=[1], images=[source("blue")])
    assert (one.seed, one.strength) == (1, 0.4)
    assert one.image == source("blue")
    (two,) = make(Prompt("a", settings=own))
    assert (two.seed, two.image) == (7, source("red"))


def test_a_list_of_images_brings_its_own_size() -> None:
    own = Settings({"seed": 7, "width": 80, "height": 80})
    (one,) = make(Prompt("a", settings=own), images=[source("blue")])
    assert (one.width, one.height) == (64, 64)


def test_a_prompt_without_any_seed_is_named() -> None:
    with pytest.raises(InvalidRequest, match="neither for 'b'"):
        make(Prompt("a", settings=Settings({"seed": 7})), Prompt("b"))


def test_values_of_a_row_are_checked() -> None:
    with pytest.raises(BatchSDXLError, match="multiple of 8"):
        make(Prompt("a", settings=Settings({"seed": 7, "width": 81})))


def said(*prompts: Prompt, **lists: Any) -> str:
    """What the summary adds to the numbers."""
    given: dict[str, Any] = {"images": None, "seeds": None, "variation_seeds": None, **lists}
    settings = {**SHARED, "variation_strength": 0.1}
    planned = plan("zip", prompts, **given, settings=settings, read_image=source)
    return summary("zip", planned, prompts=prompts, **given)


def row(**settings: Any) -> Prompt:
    return Prompt("a", "b", Settings({"seed": 7, **settings}))


def test_the_summary_says_what_comes() -> None:
    prompts = [Prompt("a"), Prompt("b")]
    seeds = [1, 2, 3]
    planned = plan("product", prompts, seeds, None, None, SHARED, source)
    words = summary("product", planned, prompts=prompts, images=None, seeds=seeds)
    assert words == "6 images: 2 prompts x 3 seeds (product)"


def test_the_summary_says_what_rows_have_of_their_own() -> None:
    assert said(row(width=64, height=80), row(num_inference_steps=9, guidance_scale=2.0)) == (
        "2 images: 2 prompts (zip); 1 row with size of their own; 1 row with steps of their own"
        "; 1 row with cfg of their own"
    )
    assert "size of" not in said(row(width=64), row(), images=[source("blue")])


def test_the_summary_says_what_of_the_rows_is_lost() -> None:
    assert said(row(), row()) == "2 images: 2 prompts (zip)"
    assert said(row(), row(), seeds=[1]) == (
        "2 images: 2 prompts, 1 seed (zip); the seeds given replace those of 2 rows"
    )
    assert said(row(image="red", width=64), row(), images=[source("blue")]).endswith(
        "; the images given replace those of 1 row; the images given replace the sizes of 1 row"
    )
    assert said(row(variation_strength=0.5), variation_seeds=[1]).endswith(
        "; the variation seeds given replace those of 1 row"
    )
    assert said(row(guidance_scale=1.0), row()).endswith(
        "; cfg up to 1 leaves out the negative prompt of 1 image"
    )
    assert said(row(strength=0.5)).endswith("; without images nothing uses the strength of 1 row")
    assert said(row(strength=0.5, image="red")) == "1 image: 1 prompt (zip)"
