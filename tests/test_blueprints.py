"""The blueprints: graphs of our nodes that ComfyUI's search finds as one node."""

import json
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed

BLUEPRINTS = sorted((Path(batch_sdxl.__file__).parent / "subgraphs").glob("*.json"))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The file, its one node, and the graph within that."""
    blueprint = json.loads(path.read_text("utf-8"))
    (node,) = blueprint["nodes"]
    (graph,) = blueprint["definitions"]["subgraphs"]
    assert node["type"] == graph["id"]
    return blueprint, node, graph


def test_there_is_one_for_each_word_that_names_no_node() -> None:
    # The search ranks by names alone: these begin with what people type.
    names = ["Image to Image (Batch SDXL)", "Text to Image (Batch SDXL)"]
    assert [path.stem for path in BLUEPRINTS] == names
    assert [read(path)[2]["name"] for path in BLUEPRINTS] == names


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_its_nodes_are_as_they_are_today(path: Path) -> None:
    for node in read(path)[2]["nodes"]:
        kinds = NODE_CLASS_MAPPINGS[node["type"]].INPUT_TYPES()
        inputs = kinds["required"] | kinds.get("optional", {})
        assert {one["name"] for one in node["inputs"]} == {*inputs}
        outputs = NODE_CLASS_MAPPINGS[node["type"]].RETURN_NAMES
        assert [one["name"] for one in node["outputs"]] == list(outputs)


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_what_is_set_on_it_reaches_the_nodes_within(path: Path, tmp_path: Path) -> None:
    blueprint, node, _ = read(path)
    widgets = [one["name"] for one in node["inputs"] if "widget" in one]
    assert node["properties"]["proxyWidgets"] == [["-1", name] for name in widgets]
    # What no graph of ours has by default.
    given = {"prompts": "a boat", "negative_prompt": "blurry", "seeds": "5", "steps": 3, "cfg": 2.5}
    node["widgets_values"] = [
        given.get(name, value) for name, value in zip(widgets, node["widgets_values"], strict=True)
    ]
    (tmp_path / "graph.json").write_text(json.dumps(blueprint), "utf-8")
    inputs = {
        (one["class_type"].removeprefix("BatchSDXL_"), name): value
        for one in workflow.read(tmp_path / "graph.json", installed()).api().values()
        for name, value in one["inputs"].items()
    }
    assert inputs["PromptList", "text"] == "a boat"
    assert inputs["PromptList", "negative_prompt"] == "blurry"
    assert inputs["SeedList", "seeds"] == "5"
    assert (inputs["BatchGenerate", "steps"], inputs["BatchGenerate", "cfg"]) == (3, 2.5)
    for name, outputs in (("model", "5:1"), ("prompts", "5:2"), ("seeds", "5:3")):
        assert inputs["BatchGenerate", name] == [outputs, 0]
