import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.request.selection import select
from batch_sdxl.host import host
from batch_sdxl.tests.records import make_record
from PIL import Image

PAIRS = [("a castle", 3), ("a Castle at night", 5), ("a boat", 3), ("a boat", 2**64 - 1), ("x", 9)]
RECORDS = [make_record(prompt=prompt, negative_prompt="dim", seed=seed) for prompt, seed in PAIRS]


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
        ("", "something to pick of #1 (seed 3), #2 (seed 5), #3 (seed 3), #4 (seed 1844674407"),
        (" , ", "an empty text"),
        ("seed 4", "seed 3, seed 5, seed 18446744073709551615, seed 9, got 'seed 4'"),
        ("#0", "#1..5"),
        ("#6", "#1..5"),
        ("#4..9", "#1..5"),
        ('"house"', "'a castle'"),
        ("7", "needs `seed` or `#`"),
        ("seed", "at character 1"),
        ("#1, the second", "'the second' at character 5"),
        ('\n ,"open', "at character 4"),
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


class Browser(host.Host):
    """A host with somebody who looks."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.shown: list[tuple[str, dict[str, list[str]]]] = []

    def temp_folder(self) -> Path:
        return self.temp

    def show(self, node_id: str, ui: dict[str, list[str]]) -> None:
        self.shown.append((node_id, ui))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "temp")
    with host.use(browser):
        yield browser


def run(pick: str, images: torch.Tensor | None = None) -> Any:
    if images is None:
        images = torch.arange(5).reshape(5, 1, 1, 1).expand(5, 480, 640, 3) / 10
    node = NODE_CLASS_MAPPINGS["BatchSDXL_SelectImages"]()
    return node.run(images=[images], rows=[RECORDS], pick=[pick], unique_id=["7"])


def gallery(browser: Browser, ui: dict[str, list[str]]) -> tuple[list[dict[str, Any]], list[int]]:
    (text,) = ui["batch_sdxl_gallery"]
    shown = json.loads(text)
    listed = json.loads((browser.temp / "batch_sdxl" / shown["list"]).read_text("utf-8"))
    return listed["images"], shown["picked"]


def test_the_gallery_shows_the_whole_batch_and_what_was_picked(browser: Browser) -> None:
    returned = run("#4, #2")
    assert returned["result"][-1] == 2
    images, picked = gallery(browser, returned["ui"])
    assert picked == [3, 1]
    assert [(image["prompt"], image["seed"]) for image in images] == [
        (prompt, str(seed)) for prompt, seed in PAIRS
    ]
    for k, image in enumerate(images):
        assert (image["width"], image["height"]) == (640, 480)
        with Image.open(browser.temp / "batch_sdxl" / image["thumbnail"]) as thumbnail:
            assert thumbnail.size == (320, 240)
        with Image.open(browser.temp / "batch_sdxl" / image["file"]) as large:
            assert large.size == (640, 480)
            assert np.abs(np.asarray(large, int) - round(k * 25.5)).max() <= 2
    assert not browser.shown


def test_another_choice_of_the_same_batch_writes_nothing(browser: Browser) -> None:
    first = run("all")["ui"]
    files = {file: file.stat().st_mtime_ns for file in browser.temp.rglob("*")}
    second = run("#1")["ui"]
    assert {file: file.stat().st_mtime_ns for file in browser.temp.rglob("*")} == files
    assert gallery(browser, first)[0] == gallery(browser, second)[0]


@pytest.mark.parametrize("pick", ["", "#9", "the second"])
def test_a_choice_that_fails_still_shows_what_there_is(browser: Browser, pick: str) -> None:
    with pytest.raises(InvalidRequest):
        run(pick)
    ((node_id, ui),) = browser.shown
    assert node_id == "7"
    images, picked = gallery(browser, ui)
    assert len(images) == 5
    assert picked == []


def test_pixels_out_of_range_and_alpha_are_shown_too(browser: Browser) -> None:
    images = torch.full((5, 8, 8, 4), 1.5)
    shown, _ = gallery(browser, run("all", images)["ui"])
    with Image.open(browser.temp / "batch_sdxl" / shown[0]["file"]) as image:
        assert np.asarray(image).min() >= 254


def test_a_gallery_that_cannot_be_written_does_not_stop_the_run(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    browser.temp.write_text("a file, no folder", "utf-8")
    with caplog.at_level(logging.WARNING):
        assert run("#1")[-1] == 1
    assert "no gallery" in caplog.text


def test_nothing_is_written_where_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("#1")[-1] == 1
    assert not list(tmp_path.iterdir())
