from typing import Any

import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.selection import select

PAIRS = [("a castle", 3), ("a Castle at night", 5), ("a boat", 3), ("a boat", 2**64 - 1), ("x", 9)]
RECORDS: list[dict[str, Any]] = [
    {"prompt": prompt, "negative_prompt": "dim", "seed": seed} for prompt, seed in PAIRS
]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("seed 5", [1]),
        ("seed 3, 5", [0, 2, 1]),
        ("seeds 5; 3", [1, 0, 2]),
        (f"seed {2**64 - 1}", [3]),
        ("seed 3..9", [0, 2, 1, 4]),
        ("seed 9..3", [4, 1, 0, 2]),
        ("#2", [1]),
        ("#2, #4..5", [1, 3, 4]),
        ("#4..#2", [3, 2, 1]),
        ("#1, 3\n#1", [0, 2]),
        ('"CASTLE"', [0, 1]),
        ('"boat", seed 5, #1', [2, 3, 1, 0]),
        ("all", [0, 1, 2, 3, 4]),
        (" #5 ,all, ", [4, 0, 1, 2, 3]),
    ],
)
def test_what_is_picked(text: str, places: list[int]) -> None:
    assert select(text, RECORDS) == places


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "an empty text"),
        (" , ", "an empty text"),
        ("seed 4", "seed 3, seed 5, seed 18446744073709551615, seed 9, got 'seed 4'"),
        ("#0", "#1..5"),
        ("#6", "#1..5"),
        ("#4..9", "#1..5"),
        ('"house"', "'a castle'"),
        ("7", "needs `seed` or `#`"),
        ("seed", "at character 1"),
        ("#1, the second", "'the second' at character 4"),
        ('"open', "at character 1"),
    ],
)
def test_what_is_not_there_is_an_error_that_lists_what_is(text: str, part: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        select(text, RECORDS)
    assert part in str(caught.value)


def test_everything_that_belongs_to_an_image_comes_with_it() -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_SelectImages"]()
    shades = torch.arange(5).reshape(5, 1, 1, 1) / 10
    wide, tall = torch.ones(3, 8, 16, 3) * shades[:3], torch.ones(2, 16, 8, 3) * shades[3:]
    images, rows, prompts, seeds, masks, sources, count = node.run(
        images=[wide, tall],
        rows=[RECORDS],
        pick=["#4, #2"],
        masks=[torch.zeros(5, 8, 8)],
        source_images=[torch.ones(5, 8, 8, 3) * shades],
    )
    assert [tuple(batch.shape) for batch in images] == [(1, 16, 8, 3), (1, 8, 16, 3)]
    assert rows == [RECORDS[3], RECORDS[1]]
    assert [prompt.prompt for prompt in prompts] == ["a boat", "a Castle at night"]
    assert seeds == (2**64 - 1, 5)
    assert masks[0].shape == (2, 8, 8)
    assert sources[0][:, 0, 0, 0].tolist() == [shades[3].item(), shades[1].item()]
    assert count == 2


def test_lists_that_do_not_belong_together_are_refused() -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_SelectImages"]()
    with pytest.raises(InvalidRequest, match="2 masks and 5 rows"):
        node.run(
            images=[torch.zeros(5, 8, 8, 3)],
            rows=[RECORDS],
            pick=["all"],
            masks=[torch.zeros(2, 8, 8)],
        )
