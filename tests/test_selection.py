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
from batch_sdxl.core.prompts.prompt import Prompt
from batch_sdxl.core.request.selection import select
from batch_sdxl.core.store.store import ImageStore, Stored
from batch_sdxl.host import host
from batch_sdxl.host.gallery import GalleryFolders
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
        ("seed 4", "pick one of these: seed 3, seed 5, seed 18446744073709551615, seed 9."),
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

    def galleries(self) -> GalleryFolders:
        return GalleryFolders(self.temp / "pictures", self.temp / "lists")

    def store(self) -> ImageStore:
        return ImageStore(self.temp / "store")

    def show(self, node_id: str, ui: dict[str, list[str]]) -> None:
        self.shown.append((node_id, ui))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "temp")
    with host.use(browser):
        yield browser


def run(pick: str, images: torch.Tensor | None = None, **more: Any) -> Any:
    if images is None:
        images = torch.arange(5).reshape(5, 1, 1, 1).expand(5, 480, 640, 3) / 10
    node = NODE_CLASS_MAPPINGS["BatchSDXL_SelectImages"]()
    return node.run(images=[images], rows=[RECORDS], pick=[pick], unique_id=["7"], **more)


def gallery(browser: Browser, ui: dict[str, list[str]]) -> tuple[list[dict[str, Any]], list[int]]:
    (text,) = ui["batch_sdxl_gallery"]
    shown = json.loads(text)
    listed = json.loads((browser.temp / "lists" / shown["list"]).read_text("utf-8"))
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
        with Image.open(browser.temp / "pictures" / image["thumbnail"]) as thumbnail:
            assert thumbnail.size == (320, 240)
        with Image.open(browser.temp / "pictures" / image["file"]) as large:
            assert large.size == (640, 480)
            assert np.abs(np.asarray(large, int) - round(k * 25.5)).max() <= 2
    assert not browser.shown


def test_another_choice_of_the_same_batch_writes_nothing(browser: Browser) -> None:
    first = run("all")["ui"]
    files = {file: file.stat().st_mtime_ns for file in browser.temp.rglob("*.jpg")}
    second = run("#1")["ui"]
    assert {file: file.stat().st_mtime_ns for file in browser.temp.rglob("*.jpg")} == files
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


class Waiting(Browser):
    """One where a person can choose, and run again."""

    def blocked(self) -> str:
        return "blocked"


def test_an_empty_choice_stops_what_comes_after_without_an_error(tmp_path: Path) -> None:
    browser = Waiting(tmp_path)
    with host.use(browser):
        for nothing in ("", " , "):
            returned = run(nothing)
            assert returned["result"] == ("blocked",) * 7
            images, picked = gallery(browser, returned["ui"])
            assert (len(images), picked) == (5, [])


def test_clicks_count_for_the_batch_that_they_were_made_in(tmp_path: Path) -> None:
    with host.use(Waiting(tmp_path)):
        (shown,) = run("")["ui"]["batch_sdxl_gallery"]
        batch = json.loads(shown)["batch"]
        assert run("#2", clicked_in=[batch])["result"][-1] == 1
        assert run("#2", clicked_in=["another"])["result"][-1] == "blocked"
    assert run("#2", clicked_in=["another"])[-1] == 1  # nobody can click there


def test_nothing_to_pick_is_an_error_where_nobody_can_go_on() -> None:
    with pytest.raises(InvalidRequest, match=r"There are #1 \(seed 3\), #2 \(seed 5\)"):
        run("")


def test_images_of_other_programs_are_picked_by_what_is_told_of_them() -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_SelectImages"]()
    given: dict[str, Any] = {"images": [torch.zeros(3, 8, 16, 3)]}
    told = given | {"prompts": [(Prompt("a cat", "dim"), Prompt("a dog")), "an owl"]}
    told |= {"seeds": [(7, 8), 9], "names": ["x"]}
    _, rows, prompts, seeds, *_ = node.run(**told, pick=['"dog", seed 7'])
    assert [(p.prompt, p.negative_prompt) for p in prompts] == [("a dog", ""), ("a cat", "dim")]
    assert seeds == (8, 7)
    assert (rows[0].request.width, rows[0].request.height) == (16, 8)
    assert node.run(**given, pick=["#3"])[-1] == 1
    assert node.run(**given, names=["one", "two", "three"], pick=['"two"'])[-1] == 1
    assert node.run(**given)[3] == ()
    with pytest.raises(InvalidRequest, match="as many seeds as images"):
        node.run(**given, seeds=[1, 2])
    with pytest.raises(InvalidRequest, match="both rows and seeds"):
        node.run(**given, rows=[RECORDS], seeds=[1])


def test_pictures_that_are_gone_come_back_from_the_store(browser: Browser) -> None:
    shown, _ = gallery(browser, run("all")["ui"])
    pixels = np.full((480, 640, 3), round(25.5), np.uint8)
    store, folders = browser.store(), browser.galleries()
    store.put(RECORDS[1].identity, Stored(pixels, np.zeros((4, 60, 80), np.float32)), "{}")
    (listed,) = folders.lists.iterdir()
    for file in folders.pictures.iterdir():
        file.unlink()
    for name in ("file", "thumbnail"):
        picture = folders.picture(listed.name, shown[1][name], store)
        assert picture is not None
        with Image.open(picture) as image:
            assert np.abs(np.asarray(image, int) - round(25.5)).max() <= 2
    assert folders.picture(listed.name, shown[0]["file"], store) is None  # other pixels
    for name in ("../../etc/passwd", "x.json", "../lists/" + listed.name):
        assert folders.list(name) is None
        assert folders.picture(listed.name, name, store) is None


def test_pixels_out_of_range_and_alpha_are_shown_too(browser: Browser) -> None:
    images = torch.full((5, 8, 8, 4), 1.5)
    shown, _ = gallery(browser, run("all", images)["ui"])
    with Image.open(browser.temp / "pictures" / shown[0]["file"]) as image:
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
