"""The help pages: one for every node, and what they give as examples is what comes out."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS, WEB_DIRECTORY
from batch_sdxl.core.combinations import COMBINATIONS, combine
from batch_sdxl.core.prompts.prompt import Prompt
from batch_sdxl.core.prompts.refine import WAYS, refine
from batch_sdxl.core.request.selection import select
from batch_sdxl.core.saving.file_names import NameTemplate, Source
from batch_sdxl.core.seeds import parse_seeds
from batch_sdxl.host import host
from batch_sdxl.nodes.save_image_batch import USUAL_NAMES
from batch_sdxl.tests.records import make_record
from PIL import Image

DOCS = Path(__file__).parents[1] / WEB_DIRECTORY / "docs"
PAGES = {path.stem: path.read_text("utf-8") for path in DOCS.glob("*.md")}

#: A cell of a table that is code.
CELL = r"\| `([^`]*)` "


def section(name: str, heading: str) -> str:
    return PAGES[f"BatchSDXL_{name}"].split(f"\n## {heading}\n")[1].split("\n## ")[0]


def examples(name: str, cells: str) -> list[Any]:
    _, table = section(name, "Example").split("\n|---", 1)
    found = re.findall(f"^{cells}\\|$", table, re.MULTILINE)
    assert found
    return found


def run_prompt_list(**inputs: Any) -> Any:
    return NODE_CLASS_MAPPINGS["BatchSDXL_PromptList"]().run(negative_prompt="", **inputs)


def test_every_node_has_a_page_and_every_page_a_node() -> None:
    assert PAGES.keys() == NODE_CLASS_MAPPINGS.keys()


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_page_names_every_input_and_output(name: str) -> None:
    node, page = NODE_CLASS_MAPPINGS[name], name.removeprefix("BatchSDXL_")
    kinds = node.INPUT_TYPES()
    inputs = [*kinds["required"], *kinds.get("optional", {})]
    for heading, names in (("Inputs", inputs), ("Outputs", node.RETURN_NAMES)):
        assert re.findall(r"^- `(\w+)`: ", section(page, heading), re.MULTILINE) == list(names)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_a_small_picture_of_its_own(name: str) -> None:
    (place,) = re.findall(r"^!\[[^\]]+\]\((.+)\)$", PAGES[name], re.MULTILINE)
    assert Path(place).stem == name.removeprefix("BatchSDXL_")
    with Image.open(DOCS / place) as picture:
        assert picture.width >= 700
    assert (DOCS / place).stat().st_size < 100_000


def test_no_picture_is_left_over() -> None:
    assert len(list((DOCS / "images").iterdir())) == len(PAGES)


def test_seeds_are_those_of_the_page() -> None:
    for text, seeds in examples("SeedList", CELL + r"\| ([\d, ]+) "):
        assert ", ".join(map(str, parse_seeds(text))) == seeds


def test_prompts_are_those_of_the_page(tmp_path: Path) -> None:
    page = PAGES["BatchSDXL_PromptList"]
    blocks = re.findall(r"```(\S+)\n(.*?)```\n\n```result\n(.*?)\n```", page, re.DOTALL)
    ways: tuple[dict[str, str], ...] = (
        {},
        {"template": "{prompt}, {style}"},
        {"wildcards": "combinatorial"},
    )
    for (kind, content, result), way in zip(blocks, ways, strict=True):
        assert all(f"`{name}` at `{value}`" in page for name, value in way.items())
        if kind == "text":
            found = run_prompt_list(text=content, **way)
        else:
            (tmp_path / kind).write_text(content)
            with host.use(Below(tmp_path)):
                found = run_prompt_list(text="", file=kind, **way)
        assert found["ui"]["text"][0].split("\n", 1)[1] == result


class Below(host.Host):
    """Reads from one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def input_folders(self) -> list[Path]:
        return [self.folder]


def test_choices_are_drawn_as_the_page_says() -> None:
    text = "a {red|blue|green} circle"
    said = f"of `{text}`, seed 1 always draws green and seed 2 blue"
    assert said in PAGES["BatchSDXL_PromptList"].replace("\n", " ")
    (prompt,) = run_prompt_list(text=text, wildcards="random")["result"][0]
    assert prompt.resolved(1).prompt == "a green circle"
    assert prompt.resolved(2).prompt == "a blue circle"


def test_refined_prompts_are_those_of_the_page() -> None:
    page = section("RefinePrompts", "Example")
    ways = re.findall(r"^- `(\w+)` and `(.+)`: (.+)$", page, re.MULTILINE)
    assert [way for way, *_ in ways] == list(WAYS)
    for way, text, new in ways:
        (refined,) = refine([Prompt("a red heart on a blue background")], way, text)
        assert refined.prompt == new


def test_picks_are_those_of_the_page() -> None:
    records = [make_record(seed=seed, prompt=f"a castle {seed}") for seed in (3, 5, 100, 7, 115, 9)]
    picks = examples("SelectImages", CELL + r"\| [^|]+ ")
    assert {text: select(text, records) for text in picks} == {
        "#2, #5": [1, 4],
        "#4..6": [3, 4, 5],
        "seed 3, 5": [0, 1],
        "seed 100..115": [2, 4],
        '"castle"': [0, 1, 2, 3, 4, 5],
        "all": [0, 1, 2, 3, 4, 5],
    }


def test_combinations_are_as_many_as_the_page_says() -> None:
    page = section("BatchGenerate", "Example")
    ways = re.findall(r"^- `(.+)` with `(\w+)`: (\d+) images, ", page, re.MULTILINE)
    assert {mode for _, mode, _ in ways} == set(COMBINATIONS)
    for seeds, mode, count in ways:
        lists: dict[str, Any] = {"prompts": ["a", "b", "c"], "seeds": parse_seeds(seeds)}
        assert len(combine(mode, **lists)) == int(count)


def test_files_are_called_as_the_page_says() -> None:
    asked: dict[str, Any] = {
        "prompt": "a red circle on a blue background",
        "seed": 1,
        "num_inference_steps": 20,
        "guidance_scale": 6.0,
        "scheduler": "euler:normal",
    }
    record = make_record(**asked)
    now = datetime(2026, 1, 1)
    page = section("SaveImageBatch", "Example")
    ways = re.findall(r"^- `([^`]+)` → `([^`]+)\.png`(?:, or `([^`]+)\.png`)?", page, re.MULTILINE)
    assert len(ways) == 4
    assert f"`{NameTemplate(USUAL_NAMES).fill(Source(record, 1, 'batch', now)).path}.png`" in page
    for template, plain, pictured in ways:
        name = NameTemplate(template)
        assert name.fill(Source(record, 1, "batch", now)).path == plain
        if pictured:
            from_picture = make_record(image="1_left.png", **asked)
            assert name.fill(Source(from_picture, 1, "batch", now)).path == pictured


def test_pictures_that_load_are_those_of_the_page() -> None:
    page = section("LoadImageBatch", "Example")
    ways = re.findall(r"^- `([^`]+)` loads ((?:\d_\w+\.png|, | and )+)$", page, re.MULTILINE)
    assert len(ways) == 2
    for folder, files in ways:
        loaded = NODE_CLASS_MAPPINGS["BatchSDXL_LoadImageBatch"]().run(folder, 0, 0, "crop", 0)
        names = [Path(name).name for name in loaded["result"][2]]
        assert names == re.findall(r"\d_\w+\.png", files)
