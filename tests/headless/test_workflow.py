from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidWorkflow
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.graph import Link
from batch_sdxl.headless.graph.workflow import parse, read

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


def test_every_node_that_needs_comfyui_is_named(catalog: Catalog, node: Any) -> None:
    message = r'"KSampler" \(node 1\), "VAEDecode" \(node 7\)\. This workflow needs ComfyUI'
    with pytest.raises(InvalidWorkflow, match=message):
        parse(
            {
                "1": {"class_type": "KSampler"},
                "2": {"class_type": "Show"},
                "7": {"class_type": "VAEDecode"},
            },
            catalog,
        )
    saved = {"nodes": [node(1, "KSampler"), node(2, "Show"), node(7, "VAEDecode")], "links": []}
    with pytest.raises(InvalidWorkflow, match=message):
        parse(saved, catalog)


def test_bare_list_is_no_value(catalog: Catalog) -> None:
    with pytest.raises(InvalidWorkflow, match=r"input value, got \[1, 2, 3\]"):
        parse({"1": {"class_type": "Number", "inputs": {"value": [1, 2, 3]}}}, catalog)


def test_values_of_the_editors_own_buttons_are_left_out(catalog: Catalog) -> None:
    content = {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png", "upload": "image"}}}
    assert parse(content, catalog).nodes["1"].inputs == {"image": "a.png"}
