"""PromptList and SeedList, called as ComfyUI and the headless executor call them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidPrompts, InvalidSeeds
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.seeds import MAX_SEED
from batch_sdxl.host import host
from batch_sdxl.nodes.prompt_list import PromptList
from batch_sdxl.nodes.seed_list import SeedList
from PIL import Image


class FolderHost(host.Host):
    """One input folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def input_folders(self) -> list[Path]:
        return [self.folder]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "input" / "wildcards").mkdir(parents=True)
    (tmp_path / "input" / "wildcards" / "animal.txt").write_text("cat\ndog\n")
    (tmp_path / "input" / "rows.csv").write_text("prompt,negative,seed,style\na,b,5,oil\nc,,,ink\n")
    (tmp_path / "outside.txt").write_text("secret")
    with host.use(FolderHost(tmp_path / "input")):
        yield tmp_path / "input"


def prompts(text: str = "", negative_prompt: str = "", **inputs: Any) -> Any:
    return PromptList().run(text, negative_prompt, **inputs)


def test_inputs_and_outputs_are_those_of_saved_workflows() -> None:
    """Released names, their order and defaults stay; new ones go behind."""
    inputs = PromptList.INPUT_TYPES()
    assert {name: spec[1]["default"] for name, spec in inputs["required"].items()} == {
        "text": "a red circle on a blue background\na yellow star on a black background",
        "negative_prompt": "",
    }
    assert {name: spec[1]["default"] for name, spec in inputs["optional"].items()} == {
        "file": "",
        "template": "",
        "prefix": "",
        "suffix": "",
        "wildcards": "off",
        "variants_limit": 1000,
        "on_error": "stop",
    }
    assert list(inputs["required"]) == ["text", "negative_prompt"]
    assert next(iter(inputs["optional"])) == "file"
    assert PromptList.RETURN_NAMES == ("prompts", "count", "texts", "negatives")
    assert SeedList.INPUT_TYPES()["required"]["seeds"][1]["default"] == "1..4"
    assert SeedList.RETURN_NAMES == ("seeds", "count", "numbers")


def test_the_editor_is_not_to_draw_choices_itself() -> None:
    for section in PromptList.INPUT_TYPES().values():
        assert all("dynamicPrompts" not in spec[1] for spec in section.values())


def test_text_makes_prompts_and_ordinary_lists() -> None:
    found = prompts("a\nb", " c ")
    assert found["result"] == ((Prompt("a", "c"), Prompt("b", "c")), 2, ["a", "b"], ["c", "c"])
    assert found["ui"]["text"] == ["2 prompts\na | not: c\nb | not: c"]


def test_settings_of_rows_are_told_in_comfyuis_words(folder: Path) -> None:
    (text,) = prompts('--prompt "a" --steps 20 --cfg_scale 7 --seed 5')["ui"]["text"]
    assert text == "1 prompt\na | steps 20 | cfg 7.0 | seed 5"


def test_what_was_assumed_and_left_out_is_told_on_the_node(folder: Path) -> None:
    (folder / "rows.csv").write_bytes("prompt;stesp\na café;9\n".encode("cp1252"))
    (text,) = prompts(file="rows.csv")["ui"]["text"]
    assert text.splitlines() == [
        "1 prompt",
        "rows.csv is not UTF-8: read as windows-1252",
        "rows.csv:2:1: nothing uses stesp (did you mean steps?)",
        "a café",
    ]


def test_pictures_without_a_prompt_are_skipped_if_wanted(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(folder / "pictures" / name)
    (folder / "pictures" / "2.txt").write_text("a caption")
    (text,) = prompts(file="pictures", on_error="skip")["ui"]["text"]
    assert text.splitlines() == [
        "1 prompt",
        "skipped: 1.png with no text at all",
        "a caption",
    ]
    with pytest.raises(InvalidPrompts, match=r"1\.png with no text at all"):
        prompts(file="pictures")


def test_long_lists_are_shortened_for_all_to_see() -> None:
    (text,) = prompts("\n".join(f"p{k}" for k in range(1500)))["ui"]["text"]
    lines = text.split("\n")
    assert lines[0] == "1,500 prompts"
    assert lines[-2:] == ["… 1,480 more, not shown …", "p1499"]
    assert len(lines) == 22


def test_a_file_takes_the_place_of_the_text(folder: Path) -> None:
    found, count, texts, negatives = prompts(
        "not used", "shared", file=" rows.csv ", template="{prompt}, {style}", prefix="best "
    )["result"]
    assert found == (
        Prompt("best a, oil", "b", Settings({"seed": 5})),
        Prompt("best c, ink", "shared"),
    )
    assert (count, texts, negatives) == (2, ["best a, oil", "best c, ink"], ["b", "shared"])


@pytest.mark.parametrize("file", ["missing.txt", "../outside.txt", "/etc/passwd", "..", "a\0b"])
def test_files_outside_are_refused(folder: Path, file: str) -> None:
    with pytest.raises(BatchSDXLError):
        prompts("a", file=file)
    assert isinstance(PromptList.VALIDATE_INPUTS("a", file=file), BatchSDXLError)


def test_links_out_of_a_folder_of_pictures_are_refused(folder: Path) -> None:
    (folder / "pictures").mkdir()
    (folder / "pictures" / "1.png").symlink_to(folder.parent / "outside.txt")
    with pytest.raises(BatchSDXLError, match="a link"):
        prompts("a", file="pictures")


def test_random_wildcards_are_drawn_by_each_images_seed(folder: Path) -> None:
    found, _, texts, _ = prompts("a __animal__ {x|y}", wildcards="random")["result"]
    assert texts == ["a __animal__ {x|y}"]
    assert {found[0].resolved(seed).prompt for seed in range(40)} == {
        "a cat x",
        "a cat y",
        "a dog x",
        "a dog y",
    }


def test_all_variants_are_listed_up_to_the_limit(folder: Path) -> None:
    choices: dict[str, Any] = {"text": "a __animal__ {x|y}\nb", "wildcards": "combinatorial"}
    found, count, texts, _ = prompts(**choices)["result"]
    assert texts == ["a cat x", "a cat y", "a dog x", "a dog y", "b"]
    assert count == 5
    assert found[0].resolved(1) is found[0]
    with pytest.raises(BatchSDXLError, match="at most 4 prompts of all variants, got 5"):
        prompts(**choices, variants_limit=4)
    refused = PromptList.VALIDATE_INPUTS(**choices, variants_limit=4)
    assert "got 5" in str(refused)
    assert PromptList.VALIDATE_INPUTS(**choices) is True


@pytest.mark.parametrize(
    "inputs",
    [
        {"text": " "},
        {"text": "a {b", "wildcards": "random"},
        {"text": "__nothing__", "wildcards": "random"},
        {"text": "a", "wildcards": "always"},
        {"text": "a", "template": "{nothing}"},
        {"text": "--prompt a --seed x"},
        {"text": "a", "file": "wildcards/animal.doc"},
    ],
)
def test_bad_values_are_refused_before_anything_runs(folder: Path, inputs: Any) -> None:
    (folder / "wildcards" / "animal.doc").write_text("x")
    assert isinstance(PromptList.VALIDATE_INPUTS(**inputs), BatchSDXLError)


def test_what_is_wired_in_is_not_refused_early(folder: Path) -> None:
    assert PromptList.VALIDATE_INPUTS(None) is True
    assert PromptList.VALIDATE_INPUTS("", file=None) is True
    assert PromptList.VALIDATE_INPUTS("", file="rows.csv") is True
    assert PromptList.VALIDATE_INPUTS("a", None, "", None, None, None, None, None) is True
    assert SeedList.VALIDATE_INPUTS([None]) is True


def test_the_cache_key_is_the_content_of_what_is_read(folder: Path) -> None:
    def key(**changes: Any) -> str:
        inputs = {"text": "a __animal__", "negative_prompt": "", "file": "", "wildcards": "off"}
        return PromptList.IS_CHANGED(**inputs | changes)

    plain, rows, drawn = key(), key(file="rows.csv"), key(wildcards="random")
    wired = key(text=None, wildcards="random")
    assert len({plain, rows, drawn}) == 3
    (folder / "wildcards" / "other.txt").write_text("x")
    assert (key(), key(file="rows.csv"), key(wildcards="random")) == (plain, rows, drawn)
    assert key(text=None, wildcards="random") != wired
    (folder / "rows.csv").write_text("prompt\nx\n")
    (folder / "wildcards" / "animal.txt").write_text("cow")
    assert key() == plain
    assert key(file="rows.csv") != rows
    assert key(wildcards="random") != drawn


def test_images_that_rows_name_are_part_of_it(folder: Path) -> None:
    rows = folder / "named.csv"
    rows.write_text("prompt,image\na,one.png\nb,none.png\n")
    (folder / "one.png").write_bytes(b"1")
    before = PromptList.IS_CHANGED("", file="named.csv")
    assert PromptList.IS_CHANGED("", file="named.csv") == before
    (folder / "one.png").write_bytes(b"2")
    assert PromptList.IS_CHANGED("", file="named.csv") != before


def test_seeds_come_as_a_list_too() -> None:
    found = SeedList().run(["5..7"])
    assert found["result"] == ((5, 6, 7), 3, [5, 6, 7])
    assert found["ui"]["text"] == ["5\n6\n7"]
    (text,) = SeedList().run(["1..1000"])["ui"]["text"]
    assert text.endswith("\n19\n… 980 more, not shown …\n1000")


def test_seeds_are_drawn_anew_only_where_minus_one_asks_for_it() -> None:
    assert (
        SeedList.IS_CHANGED(["1..4"]) == SeedList.IS_CHANGED(["5"]) == SeedList.IS_CHANGED([None])
    )
    assert math.isnan(float(SeedList.IS_CHANGED(["5, -1"])))
    assert SeedList.VALIDATE_INPUTS(["-1 * 4"]) is True
    assert isinstance(SeedList.VALIDATE_INPUTS(["-2"]), BatchSDXLError)
    first, second = (SeedList().run(["-1 * 4"])["result"][0] for _ in range(2))
    assert first != second


class DrawsOnce(host.Host):
    """A host whose draws stay, as ComfyUI's do."""

    def draw_origin(self) -> str:
        return "one"


def test_a_draw_stays_until_another_batch_is_asked_for() -> None:
    def drawn(text: str, batch: int = 0, node: str = "3") -> tuple[int, ...]:
        seeds: tuple[int, ...] = SeedList().run([text], [batch], unique_id=[node])["result"][0]
        return seeds

    with host.use(DrawsOnce()):
        first = drawn("-1 * 4")
        assert drawn("-1 * 4") == first
        assert drawn("-1 * 5")[:4] == first
        assert not {*first} & {*drawn("-1 * 4", batch=1)}
        assert not {*first} & {*drawn("-1 * 4", node="4")}
        (text,) = SeedList().run(["-1, 5"], [2])["ui"]["batch_sdxl_drawn"]
        assert drawn(text) == SeedList().run(["-1, 5"], [2])["result"][0]


def test_later_batches_have_the_next_seeds() -> None:
    batches = [SeedList().run(["1..4"], [batch])["result"][0] for batch in range(3)]
    assert batches == [(1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)]
    assert SeedList().run([str(MAX_SEED)], [1])["result"][0] == (0,)


def test_numbers_take_the_place_of_the_text() -> None:
    assert SeedList().run(["1..4"], numbers=[7, MAX_SEED])["result"][0] == (7, MAX_SEED)
    with pytest.raises(InvalidSeeds, match="-5"):
        SeedList().run(["1..4"], numbers=[-5])


def run_in(graph: Any, extra: Any, seeds: str) -> Any:
    """Run it as node 3 of a graph."""
    return SeedList().run([seeds], prompt=[graph], extra_pnginfo=[extra], unique_id=["3"])


def test_the_files_graph_says_what_was_drawn() -> None:
    """A graph opened from a picture makes that picture again."""

    def node(number: int, text: str) -> dict[str, Any]:
        return {"id": number, "widgets_values": [text]}

    graph: dict[str, Any] = {
        key: {"class_type": "X", "inputs": {"seeds": "-1, 5"}} for key in ("3", "4")
    }
    workflow = {"workflow": {"nodes": [node(3, "-1, 5"), node(4, "-1, 5"), {"id": 5}]}}
    found = run_in(graph, workflow, "-1, 5")
    written = graph["3"]["inputs"]["seeds"]
    assert SeedList().run([written])["result"] == found["result"]
    assert workflow["workflow"]["nodes"] == [node(3, written), node(4, "-1, 5"), {"id": 5}]
    assert graph["4"]["inputs"]["seeds"] == "-1, 5"


def test_a_wired_in_expression_leaves_the_graph_alone() -> None:
    graph: dict[str, Any] = {"3": {"class_type": "X", "inputs": {"seeds": ["1", 0]}}}
    workflow = {"workflow": {"nodes": [{"id": 3, "widgets_values": ["1..4"]}]}}
    run_in(graph, workflow, "-1")
    assert graph["3"]["inputs"]["seeds"] == ["1", 0]
    assert workflow["workflow"]["nodes"][0]["widgets_values"] == ["1..4"]
