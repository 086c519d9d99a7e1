"""`index.html`: what is in it, and that nothing in it can get out of hand."""

import json
import os
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from batch_sdxl.core.errors import OutputError
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.saving.gallery_page import check_page, entries, write_page
from batch_sdxl.core.saving.image_file import file_texts
from batch_sdxl.core.saving.writer import FORMATS, encode
from batch_sdxl.tests.records import make_record
from PIL import Image

HERE = Path(__file__).parent
NASTY = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{data}} <!--"


def record(**changes: Any) -> Record:
    usual = {"negative_prompt": "blur", "seed": 2**64 - 1, "num_inference_steps": 2}
    return make_record(**{**usual, **changes})


def save(folder: Path, name: str, form: str = "png", **changes: Any) -> Path:
    pixels = np.zeros((16, 24, 3), np.uint8)
    content = encode(pixels, FORMATS[form], file_texts(record(**changes), {})).content
    (folder / name).write_bytes(content)
    return folder / name


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(folder: Path) -> tuple[Page, list[dict[str, Any]]]:
    page = Page(write_page(folder).read_text("utf-8"))
    return page, json.loads(page.scripts[0])


def test_every_image_with_our_record_is_shown_and_no_other(tmp_path: Path) -> None:
    save(tmp_path, "10.png", seed=10)
    save(tmp_path, "2.jpg", "jpeg", seed=2)
    save(tmp_path, "3.webp", "webp", seed=3)
    save(tmp_path, "4.avif", "avif", seed=4)
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    (tmp_path / "broken.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    page, data = read(tmp_path)
    names = ["2.jpg", "3.webp", "4.avif", "10.png"]
    assert [image["file"] for image in data] == names
    assert [image["src"] for image in page.all("img")[:4]] == [f"./{name}" for name in names]
    assert [image["seed"] for image in data] == ["2", "3", "4", "10"]


def test_later_runs_add_to_the_page(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    assert len(read(tmp_path)[1]) == 1
    save(tmp_path, "2.png")
    assert len(read(tmp_path)[1]) == 2
    (tmp_path / "1.png").unlink()
    assert [image["file"] for image in read(tmp_path)[1]] == ["2.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"2.png", "index.html"}


def test_seeds_and_recipes_keep_every_digit(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    (image,) = read(tmp_path)[1]
    assert image["seed"] == image["settings"]["Seed"] == str(2**64 - 1)
    assert json.loads(image["recipe"]) == record().to_plain()
    assert image["parameters"].startswith("a red circle\nNegative prompt: blur\nSteps: 2")
    assert image["settings"]["Size"] == "24 x 16"
    assert image["settings"]["Model"] == "demo"
    assert "Strength" not in image["settings"]


def test_texts_stay_texts(tmp_path: Path) -> None:
    folder = tmp_path / "a & <b>"
    folder.mkdir()
    save(folder, "1.png", prompt=NASTY, negative_prompt=NASTY)
    texts = file_texts(record(image=NASTY, model=NASTY), {}) | {"parameters": NASTY}
    content = encode(np.zeros((8, 8, 3), np.uint8), FORMATS["png"], texts).content
    (folder / "2.png").write_bytes(content)
    page, data = read(folder)
    assert len(page.scripts) == 2
    assert len(page.all("img")) == 3  # two tiles and the large view
    assert data[0]["prompt"] == data[0]["settings"]["Negative prompt"] == NASTY
    assert data[1]["settings"]["Made from"] == data[1]["parameters"] == NASTY
    assert page.all("img")[0]["alt"] == NASTY
    assert NASTY in page.text
    assert "a & <b>" in page.text
    text = (folder / "index.html").read_text("utf-8")
    assert "alert(1)</script>" not in text


@pytest.mark.parametrize("name", ["a b.png", "50% #1?.png", "ü'$(x)`.png", '"q".png', "-x.png"])
def test_any_name_can_be_linked_and_made_again(tmp_path: Path, name: str) -> None:
    save(tmp_path, name)
    page, (image,) = read(tmp_path)
    link = page.all("a")[0]["href"]
    assert link is not None
    assert re.fullmatch(r"\./[\w%.~-]+", link)
    assert unquote(link) == f"./{name}"
    file = shlex.split(image["command"])[2]
    assert image["command"].startswith("batch-sdxl reproduce ")
    assert (tmp_path / file).samefile(tmp_path / name)
    assert not file.startswith("-")


def test_half_characters_do_no_harm(tmp_path: Path) -> None:
    """Names of files may hold them."""
    save(tmp_path, "1.png", image="a \ud83c b")
    save(tmp_path, "2.webp", "webp", image="a \ud83c b")
    _, data = read(tmp_path)
    assert [image["settings"]["Made from"] for image in data] == ["a \ud83c b"] * 2


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_of_bytes_are_linked(tmp_path: Path) -> None:
    save(tmp_path, os.fsdecode(b"\xff.png"))
    assert read(tmp_path)[0].all("a")[0]["href"] == "./%FF.png"


def test_an_image_without_a_prompt_is_called_by_its_name(tmp_path: Path) -> None:
    save(tmp_path, "1.png", prompt="")
    assert read(tmp_path)[0].all("img")[0]["alt"] == "1.png"


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    page, _ = read(tmp_path)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|\bimport\b", text)
    assert all(not script for script in (tag.get("src") for tag in page.all("script")))
    assert [tag["href"] for tag in page.all("link")] == ["data:,"]


def test_pictures_are_loaded_as_they_come_into_view_and_keep_their_place(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    tile = read(tmp_path)[0].all("img")[0]
    assert (tile["loading"], tile["width"], tile["height"]) == ("lazy", "24", "16")
    assert tile["alt"] == "a red circle"


def test_the_page_can_be_read_aloud_and_used_by_keyboard(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    page, _ = read(tmp_path)
    assert page.all("html")[0]["lang"] == "en"
    assert all("alt" in image for image in page.all("img"))
    assert all(tag.get("type") == "button" for tag in page.all("button"))
    assert len(page.all("label")) == len(page.all("input"))
    assert page.all("dialog")[0]["aria-label"]


def test_a_page_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    save(tmp_path, "1.png")
    (tmp_path / "index.html").write_text("<h1>Mine")
    with pytest.raises(OutputError, match="not written"):
        check_page(tmp_path)
    with pytest.raises(OutputError, match="not written"):
        write_page(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<h1>Mine"
    assert len(entries(tmp_path)) == 1


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OutputError, match=r"to write a page, got .*index\.html"):
        write_page(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_without_images_of_ours_has_an_empty_page(tmp_path: Path) -> None:
    assert read(tmp_path)[1] == []


CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def without_playwright() -> bool:
    """Whether `npm install playwright-core` is still to be done, here or in NODE_PATH."""
    if CHROMIUM is None or shutil.which("node") is None:
        return True
    command = ["node", "-e", "require('playwright-core')"]
    return subprocess.run(command, cwd=HERE, capture_output=True).returncode != 0


@pytest.mark.skipif(without_playwright(), reason="no chromium, no node, or no playwright-core")
def test_in_a_browser(tmp_path: Path) -> None:
    save(tmp_path, "1.png", seed=2**64 - 1)
    save(tmp_path, "2 of #3.webp", "webp", seed=2, prompt=NASTY)
    save(tmp_path, "3.jpg", "jpeg", seed=3)
    save(tmp_path, "4.avif", "avif", seed=2)
    result = subprocess.run(
        ["node", str(HERE / "gallery_page.mjs"), write_page(tmp_path).as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env=os.environ | {"CHROMIUM": str(CHROMIUM)},
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert (seen["errors"], seen["foreign"]) == ([], [])
    assert seen["broken"] == [False] * 4

    assert seen["all"] == "4 images"
    assert seen["byPrompt"] == "3 of 4 images"
    assert seen["byLargeSeed"] == "1 of 4 images"
    assert seen["byRange"] == "3 of 4 images"
    assert seen["byBoth"] == "1 of 4 images"
    assert (seen["byNothing"], seen["invalid"]) == ("4 images", "true")

    names = ["1.png", "2 of #3.webp", "3.jpg", "4.avif"]
    first, second, third, last = (f"{name} ({at} of 4)" for at, name in enumerate(names, 1))
    assert seen["keys"] == {
        "": [first],
        "ArrowRight": [second, last],
        "End": [last],
        "ArrowLeft": [third, first],
        "Home": [first],
    }
    assert seen["closed"] is False
    assert seen["focus"] == "./2%20of%20%233.webp"

    assert seen["shown"] == NASTY
    assert json.loads(seen["copied"]["recipe"]) == record(seed=2, prompt=NASTY)
    assert seen["copied"]["parameters"].startswith(NASTY)
    assert seen["copied"]["command"] == "batch-sdxl reproduce '2 of #3.webp'"
    assert seen["told"] == "Copied."
    assert seen["byHand"] == "batch-sdxl reproduce '2 of #3.webp'"
    assert seen["toldByHand"] == "Press Ctrl+C to copy."
