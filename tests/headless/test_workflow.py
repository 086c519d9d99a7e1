import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidWorkflow
from batch_sdxl.core.saving.texts import exif, png_info
from batch_sdxl.headless.graph.catalog import Catalog, installed
from batch_sdxl.headless.graph.graph import Link
from batch_sdxl.headless.graph.workflow import parse, read
from PIL import Image

Json = dict[str, Any]


def test_both_formats_of_one_workflow_are_one_graph(
    catalog: Catalog, api: Callable[..., Json], drawing: Callable[..., Json], node: Any
) -> None:
    exported = api(
        **{
            "1": ("Number", {"value": 5}),
            "2": ("Add", {"a": ["1", 0], "b": 7}),
            "3": ("Show", {"value": ["2", 0]}),
        }
    )
    saved = drawing(
        [
            node(1, "Number", [5], outputs="INT"),
            node(2, "Add", [7], "a:INT b:INT:w", "INT"),
            node(3, "Show", [], "value:*"),
        ],
        [(1, 0, 2, "a"), (2, 0, 3, "value")],
    )
    from_editor = parse(saved, catalog)
    assert from_editor.nodes == parse(exported, catalog).nodes
    assert from_editor.editor == saved
    assert parse(exported, catalog).editor is None
    assert from_editor.nodes["1"].title == "A Number"


def test_api_graph_is_written_as_it_was_read(catalog: Catalog) -> None:
    content = {
        "a": {
            "inputs": {"value": {"__value__": [1, 2]}},
            "class_type": "Number",
            "_meta": {"title": "mine"},
        },
        "b": {"inputs": {"value": ["a", 0]}, "class_type": "Show", "_meta": {"title": "Show"}},
    }
    graph = parse(content, catalog)
    assert graph.nodes["a"].inputs == {"value": [1, 2]}
    assert graph.nodes["b"].inputs == {"value": Link("a", 0)}
    assert graph.api() == content


def test_file_may_start_with_a_byte_order_mark(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text('{"1": {"class_type": "Number", "inputs": {}}}', encoding="utf-8-sig")
    assert list(read(path, catalog).nodes) == ["1"]


@pytest.mark.parametrize("text", ["{", "", "\ud800"])
def test_file_that_is_not_json_is_refused(catalog: Catalog, tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidWorkflow, match=r"workflow in JSON, got .*broken\.json"):
        read(path, catalog)


def test_missing_file_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkflow, match=r"workflow file, got .*none\.json \(No such"):
        read(tmp_path / "none.json", catalog)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ([], "a JSON list"),
        ({}, "an empty object"),
        ({"version": 1, "name": "x"}, "the keys version, name"),
        ({"1": {"inputs": {}}}, "the keys 1"),
        ({"1": {"class_type": "Number", "inputs": []}}, "the keys 1"),
    ],
)
def test_json_that_is_no_workflow_is_refused(catalog: Catalog, content: Any, got: str) -> None:
    with pytest.raises(InvalidWorkflow, match=got):
        parse(content, catalog)


def test_both_nodes_of_one_id_are_refused(
    catalog: Catalog, tmp_path: Path, node: Any, save: Callable[[Any], Path]
) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"3": {"class_type": "Number"}, "3": {"class_type": "Show"}}')
    with pytest.raises(InvalidWorkflow, match="with an id each, got two of the id 3"):
        read(path, catalog)
    twice = {"nodes": [node(3, "Number", [1]), node(3, "Number", [2])], "links": []}
    with pytest.raises(InvalidWorkflow, match="two of the id 3"):
        read(save(twice), catalog)


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        ('{"a": 1, "a": 2}', "each name once .*, got 'a' twice"),
        (r'{"a": ["\ud800"]}', "half of one"),
    ],
)
def test_what_cannot_be_taken_as_it_stands_is_refused(
    catalog: Catalog, tmp_path: Path, inputs: str, got: str
) -> None:
    path = tmp_path / "odd.json"
    path.write_text('{"3": {"class_type": "Number", "inputs": ' + inputs + "}}")
    with pytest.raises(InvalidWorkflow, match=got):
        read(path, catalog)


@pytest.mark.parametrize("deep", ['{"nodes": ' + "[" * 100_000, '{"prompt": ' * 5000 + "1"])
def test_file_that_is_nested_without_end_is_refused(
    catalog: Catalog, tmp_path: Path, deep: str
) -> None:
    path = tmp_path / "deep.json"
    path.write_text(deep)
    with pytest.raises(InvalidWorkflow, match=r"nested too deeply|in JSON"):
        read(path, catalog)


def test_what_is_posted_to_comfyui_is_read(catalog: Catalog) -> None:
    prompt = {"1": {"class_type": "Number", "inputs": {"value": 4}}}
    drawing: dict[str, Any] = {"nodes": [], "links": []}
    posted = {"client_id": "x", "prompt": prompt}
    assert parse(posted, catalog) == parse(prompt, catalog)
    posted["extra_data"] = {"extra_pnginfo": {"workflow": drawing}}
    assert parse(posted, catalog).editor == drawing


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_picture_holds_the_workflow_that_made_it(
    catalog: Catalog, tmp_path: Path, suffix: str
) -> None:
    texts = {
        "prompt": json.dumps({"1": {"class_type": "Number", "inputs": {"value": 4}}}),
        "workflow": json.dumps({"nodes": [], "links": []}),
    }
    # A wrong ending makes no difference.
    path = tmp_path / "picture.json"
    form = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[suffix]
    extra = {"pnginfo": png_info(texts)} if suffix == "png" else {"exif": exif(texts)}
    Image.new("RGB", (8, 8)).save(path, form, **extra)
    graph = read(path, catalog)
    assert graph.nodes["1"].inputs == {"value": 4}
    assert graph.editor == {"nodes": [], "links": []}


def test_picture_without_a_workflow_is_told(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(InvalidWorkflow, match="a picture without one"):
        read(path, catalog)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BatchSDXLError):
        read(path, catalog)


def test_missing_file_near_another_is_told(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "portrait.json").write_text("{}")
    with pytest.raises(InvalidWorkflow, match=r'Did you mean "portrait\.json"'):
        read(tmp_path / "potrait.json", catalog)


def test_list_is_a_link_only_as_comfyui_writes_it(catalog: Catalog) -> None:
    def value(written: Any) -> Any:
        content = {"1": {"class_type": "Number", "inputs": {"value": written}}}
        return parse(content, catalog).nodes["1"].inputs["value"]

    assert value(["1", 0]) == Link("1", 0)
    assert value([1, 0]) == [1, 0]
    assert value(["1", "0"]) == ["1", "0"]
    assert value(["1", True]) == ["1", True]
    assert value({"__value__": ["1", 0]}) == ["1", 0]


def test_list_stands_for_lines_where_a_text_is_read_line_by_line() -> None:
    def text(kind: str, name: str, written: Any) -> Any:
        content = {"1": {"class_type": kind, "inputs": {name: written}}}
        return parse(content, installed()).nodes["1"].inputs[name]

    prompts = ("BatchSDXL_PromptList", "text")
    assert text(*prompts, ["a red circle", "a star"]) == "a red circle\na star"
    assert text(*prompts, {"__value__": ["a star"]}) == "a star"
    assert text("BatchSDXL_SeedList", "seeds", [5, 6]) == "5\n6"
    assert text("BatchSDXL_LoadImageBatch", "folder", ["a.png", "b"]) == "a.png\nb"
    for wrong in (["a\nb"], ["# no"], [""], [None], [True], [["a"]], ["---"]):
        with pytest.raises(InvalidWorkflow, match="a list of texts of one line each"):
            text(*prompts, wrong)


def test_values_of_the_editors_own_buttons_are_left_out(catalog: Catalog) -> None:
    content = {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png", "upload": "image"}}}
    assert parse(content, catalog).nodes["1"].inputs == {"image": "a.png"}
