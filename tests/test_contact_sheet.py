from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.request.named import Named
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.request.row import Told, ToldRow
from batch_sdxl.core.saving.contact_sheet import EMPTY, PAPER, by_prompt_and_seed, draw, in_order
from batch_sdxl.tests.records import make_record


def records(*pairs: tuple[str, int]) -> list[Record]:
    return [make_record(prompt=prompt, seed=seed) for prompt, seed in pairs]


def test_prompts_go_down_and_seeds_across() -> None:
    sheet = by_prompt_and_seed(records(("a", 1), ("a", 2), ("b", 2), ("a", 1)))
    assert sheet.cells == [[0, 1], [None, 2], [3, None]]
    assert sheet.tops == ["seed 1", "seed 2"]
    assert sheet.sides == ["a", "b", "a"]


def test_sheet_that_would_be_mostly_empty_is_wrapped() -> None:
    many = records(*[(f"prompt {n}", 100 + n) for n in range(12)])
    sheet = by_prompt_and_seed(many)
    assert sheet == in_order(many)
    assert sheet.captions[3] == "prompt 3\nseed 103"
    assert sum(cell is None for row in sheet.cells for cell in row) < 4


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(4, 0, (2, 2)), (5, 0, (2, 3)), (5, 5, (1, 5))]
)
def test_in_order_fills_rows(count: int, columns: int, shape: tuple[int, int]) -> None:
    sheet = in_order(records(*[("a", n) for n in range(count)]), columns)
    assert (len(sheet.cells), len(sheet.cells[0])) == shape
    flat = [cell for row in sheet.cells for cell in row]
    assert flat == [*range(count), *[None] * (len(flat) - count)]


def test_every_image_is_on_the_sheet() -> None:
    shades = [40, 90, 140]
    images = [np.full((32, 48, 3), shade, np.uint8) for shade in shades]
    page = draw(images, by_prompt_and_seed(records(("a", 1), ("a", 2), ("b", 2))), 64)
    for shade in [*shades, EMPTY[0]]:
        assert (page == shade).all(axis=2).sum() >= 32 * 48


@pytest.mark.parametrize(
    "prompt", ["word " * 200, "x" * 3000, "", "ein Häuschen, 赤い丸 🎨", "two\nlines"]
)
def test_labels_stay_in_their_place(prompt: str) -> None:
    """A long label neither fails nor runs over the image beside it."""
    image = np.full((64, 64, 3), 100, np.uint8)
    page = draw([image], by_prompt_and_seed(records((prompt, 1))), 64)
    assert (page[-72:-8, -72:-8] == 100).all()
    assert (page[-8:] == PAPER[0]).all()


def test_large_images_are_shrunk_and_small_ones_kept() -> None:
    sheet = in_order(records(("a", 1)))
    small, large = (draw([np.zeros((n, n, 3), np.uint8)], sheet, 64) for n in (32, 512))
    assert (small == 0).all(axis=2)[8:40, 8:40].all()
    assert large.shape[1] == 64 + 16


@pytest.mark.slow
def test_a_sheet_of_thousands_stays_small() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    page = draw([image] * 5000, in_order(records(*[("a", n) for n in range(5000)])), 256)
    assert page.size < 3 * 64_000_000 * 2.5


def test_the_node_takes_batches_of_any_sizes() -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_ContactSheet"]()
    settings: dict[str, Any] = {"layout": ["in order"], "cell_size": [64], "columns": [0]}
    images = [torch.zeros(2, 64, 64, 3), torch.ones(1, 32, 64, 3)]
    (page,) = node.run(images=images, rows=[records(("a", 1), ("b", 2), ("c", 3))], **settings)
    assert page.shape[0] == 1
    assert page.shape[3] == 3
    with pytest.raises(InvalidRequest, match="3 images and 1 row"):
        node.run(images=images, rows=[records(("a", 1))], **settings)


def test_images_of_other_programs_are_labelled_with_what_is_told_of_them() -> None:
    def told(**more: Any) -> ToldRow:
        return ToldRow(Told(width=8, height=8, **more))

    rows = [told(), told(seed=7), told(prompt="a cat"), told(picture=Named("x.png", ""))]
    assert by_prompt_and_seed(rows).captions == ["#1", "seed 7", "a cat", "x.png"]
    both = [told(prompt="a", seed=1), told(prompt="a", seed=2)]
    assert by_prompt_and_seed(both).tops == ["seed 1", "seed 2"]
