import copy
from collections.abc import Callable
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidWorkflow
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.graph import Link
from batch_sdxl.headless.graph.workflow import parse

Json = dict[str, Any]
Draw = Callable[..., Json]
Values = Callable[[Json], list[Any]]


@pytest.mark.parametrize(
    ("widgets", "result"),
    [
        ([7, "randomize", "fast", 0.25, True, "hi"], "7 fast 0.25 True hi"),
        ([7, "fast", 0.25, True, "hi"], "7 fast 0.25 True hi"),
        ([7, "fixed", "fast"], "7 fast 0.5 False none"),
        ([], "0 slow 0.5 False none"),
        ([7, "fixed", "fast", 0.25, True, "hi", "", None], "7 fast 0.25 True hi"),
        ({"seed": 7, "control_after_generate": "fixed", "mode": "fast"}, "7 fast 0.5 False none"),
    ],
)
def test_widget_values_are_read_in_the_order_of_the_node(
    node: Draw, drawing: Draw, values: Values, widgets: Any, result: str
) -> None:
    nodes = [node(1, "Seeded", widgets, outputs="STRING"), node(2, "Show", [], "value:*")]
    assert values(drawing(nodes, [(1, 0, 2, "value")])) == [result]


@pytest.mark.parametrize("widgets", [[7, "fixed", "fast", 0.1, True, "hi", 9], {"sed": 9}])
def test_values_of_no_widget_are_refused(
    node: Draw, drawing: Draw, values: Values, widgets: Any
) -> None:
    with pytest.raises(InvalidWorkflow, match=r"widgets of node 1 \(Seeded\).*others as well: "):
        values(drawing([node(1, "Seeded", widgets)], []))


def test_linked_widget_keeps_its_place_among_the_values(
    node: Draw, drawing: Draw, values: Values
) -> None:
    nodes = [
        node(1, "Number", [40], outputs="INT"),
        node(2, "Seeded", [7, "fixed", "fast", 0.25, True, "hi"], "seed:INT:w", "STRING"),
        node(3, "Show", [], "value:*"),
    ]
    assert values(drawing(nodes, [(1, 0, 2, "seed"), (2, 0, 3, "value")])) == [
        "40 fast 0.25 True hi"
    ]


def test_reroutes_primitives_and_notes_are_seen_through(
    catalog: Catalog, node: Draw, drawing: Draw, values: Values
) -> None:
    nodes = [
        node(1, "PrimitiveNode", [8, "randomize"], outputs="INT"),
        node(2, "Reroute", [], ":*", "INT"),
        node(3, "Number", [1], "value:INT:w", "INT"),
        node(4, "Reroute", [], ":*", "INT"),
        node(5, "Reroute", [], ":*", "INT"),
        node(6, "Show", [], "value:*"),
        node(7, "Note", ["read me"]),
        node(8, "MarkdownNote", ["# read me"]),
    ]
    links = [(1, 0, 2, ""), (2, 0, 3, "value"), (3, 0, 4, ""), (4, 0, 5, ""), (5, 0, 6, "value")]
    content = drawing(nodes, links)
    assert values(content) == [8]
    assert list(parse(content, catalog).nodes) == ["3", "6"]


def test_link_from_a_muted_node_counts_as_none(catalog: Catalog, node: Draw, drawing: Draw) -> None:
    nodes = [
        node(1, "Number", [5], outputs="INT", mode=2),
        node(2, "Add", [7], "a:INT b:INT:w c:INT", "INT"),
        node(3, "Show", [], "value:*"),
    ]
    links = [(1, 0, 2, "b"), (1, 0, 2, "c"), (2, 0, 3, "value")]
    graph = parse(drawing(nodes, links), catalog)
    assert list(graph.nodes) == ["2", "3"]
    assert graph.nodes["2"].inputs == {"b": 7}


def test_bypassed_node_hands_on_the_input_of_the_same_type(
    node: Draw, drawing: Draw, values: Values
) -> None:
    nodes = [
        node(1, "Number", [5], outputs="INT"),
        node(2, "Seeded", [1], outputs="STRING"),
        node(3, "Anything", [], "word:STRING number:INT", "INT STRING", mode=4),
        node(4, "Add", [1], "a:INT", "INT"),
        node(5, "Show", [], "value:*"),
    ]
    links = [(1, 0, 3, "number"), (2, 0, 3, "word"), (3, 0, 4, "a"), (4, 0, 5, "value")]
    assert values(drawing(nodes, links)) == [6]


def test_bypassed_node_hands_anything_the_input_at_the_same_place(
    catalog: Catalog, node: Draw, drawing: Draw
) -> None:
    nodes = [
        node(1, "Number", [5], outputs="INT"),
        node(2, "Anything", [], "word:STRING number:INT", "INT STRING", mode=4),
        node(3, "Show", [], "value:*"),
    ]
    links = [(1, 0, 2, "number"), (2, 1, 3, "value")]
    graph = parse(drawing(nodes, links), catalog)
    assert graph.nodes["3"].inputs == {"value": Link("1", 0)}


def test_bypassed_node_without_a_matching_input_breaks_the_link(
    catalog: Catalog, node: Draw, drawing: Draw
) -> None:
    nodes = [
        node(1, "Number", [5], outputs="INT"),
        node(2, "Anything", [], "number:INT", "STRING", mode=4),
        node(3, "Number", [1], "value:STRING:w", "INT"),
    ]
    graph = parse(drawing(nodes, [(1, 0, 2, "number"), (2, 0, 3, "value")]), catalog)
    assert graph.nodes["3"].inputs == {"value": 1}


def subgraph(definition: str, nodes: list[Json], links: list[Json], inputs: str) -> Json:
    slots = [dict(zip(("name", "type"), slot.split(":"), strict=True)) for slot in inputs.split()]
    return {
        "id": definition,
        "name": definition,
        "nodes": nodes,
        "links": links,
        "inputs": slots,
        "outputs": [{"name": "INT", "type": "INT"}],
    }


def wire(key: int, origin: int, slot: int, target: int, target_slot: int) -> Json:
    return {
        "id": key,
        "origin_id": origin,
        "origin_slot": slot,
        "target_id": target,
        "target_slot": target_slot,
        "type": "INT",
    }


@pytest.fixture
def nested(node: Draw, drawing: Draw) -> Json:
    """Twice `plus`, which adds its own 100 and its widget; one of them inside `outer`."""
    add = node(5, "Add", [100], "a:INT b:INT:w", "INT")
    add["inputs"][0]["link"], add["inputs"][1]["link"] = 1, 2
    plus = subgraph(
        "plus",
        [add],
        [wire(1, -10, 0, 5, 0), wire(2, -10, 1, 5, 1), wire(3, 5, 0, -20, 0)],
        "x:INT b:INT",
    )
    inner = node(9, "plus", [], "x:INT b:INT:w", "INT", properties={"proxyWidgets": []})
    inner["inputs"][0]["link"] = 1
    number = node(8, "Number", [1], outputs="INT", title="Inside")
    outer = subgraph(
        "outer", [inner, number], [wire(1, 8, 0, 9, 0), wire(2, 9, 0, -20, 0)], "unused:INT"
    )
    nodes = [
        node(1, "outer", [], "unused:INT", "INT", properties={"proxyWidgets": [["8", "value"]]}),
        node(2, "plus", [7], "x:INT b:INT:w", "INT", properties={"proxyWidgets": [["-1", "b"]]}),
        node(3, "Show", [], "value:*"),
    ]
    return drawing(
        nodes, [(1, 0, 2, "x"), (2, 0, 3, "value")], definitions={"subgraphs": [plus, outer]}
    )


def test_subgraphs_are_flattened(catalog: Catalog, nested: Json, values: Values) -> None:
    graph = parse(nested, catalog)
    assert list(graph.nodes) == ["1:9:5", "1:8", "2:5", "3"]
    assert graph.nodes["1:8"].inputs == {"value": 1}
    assert graph.nodes["1:8"].title == "Inside"
    assert graph.nodes["1:9:5"].inputs == {"a": Link("1:8", 0), "b": 100}
    assert graph.nodes["2:5"].inputs == {"a": Link("1:9:5", 0), "b": 7}
    assert values(nested) == [108]


def test_bypassed_or_muted_subgraph_runs_nothing_inside(catalog: Catalog, nested: Json) -> None:
    bypassed = copy.deepcopy(nested)
    bypassed["nodes"][1]["mode"] = 4
    graph = parse(bypassed, catalog)
    assert list(graph.nodes) == ["1:9:5", "1:8", "3"]
    assert graph.nodes["3"].inputs == {"value": Link("1:9:5", 0)}
    nested["nodes"][1]["mode"] = 2
    assert list(parse(nested, catalog).nodes) == ["1:9:5", "1:8", "3"]


def test_subgraph_without_a_value_of_its_own_leaves_the_one_inside(
    catalog: Catalog, nested: Json
) -> None:
    nested["nodes"][1]["widgets_values"] = [None]
    assert parse(nested, catalog).nodes["2:5"].inputs["b"] == 100


def test_muted_subgraph_hands_nothing_through(catalog: Catalog, nested: Json) -> None:
    plus = nested["definitions"]["subgraphs"][0]
    plus["links"][2] = wire(3, -10, 0, -20, 0)
    assert parse(nested, catalog).nodes["3"].inputs == {"value": Link("1:8", 0)}
    nested["nodes"][1]["mode"] = 2
    assert parse(nested, catalog).nodes["3"].inputs == {}


def test_subgraph_of_an_older_editor_has_a_value_for_each_input_with_a_widget(
    catalog: Catalog, nested: Json
) -> None:
    nested["nodes"][1]["properties"] = {}
    assert parse(nested, catalog).nodes["2:5"].inputs["b"] == 7


@pytest.mark.parametrize(
    ("version", "proxies", "value"),
    [
        (None, None, 7),
        ("1.27.10", None, 7),
        ("1.45.21", None, 100),
        ("1.58.1", None, 7),
        (None, [["5", "b"]], 7),
        ("1.45.21", [["5", "b"]], 100),
        ("1.58.1", [["5", "b"]], 7),
        ("1.45.21", [["-1", "b"]], 7),
        ("unknown", None, 7),
    ],
)
def test_promoted_value_is_read_as_the_files_own_editor_does(
    catalog: Catalog, nested: Json, version: str | None, proxies: Any, value: int
) -> None:
    host, inside = nested["nodes"][1], nested["definitions"]["subgraphs"][0]
    host["properties"] = {} if proxies is None else {"proxyWidgets": proxies}
    host["inputs"] = host["inputs"][:1]  # a newer editor lists no input for a widget
    if proxies:
        inside["nodes"][0]["inputs"][1]["link"] = None
        inside["links"] = [link for link in inside["links"] if link["id"] != 2]
        if proxies[0][0] == "-1":
            inside["nodes"][0]["inputs"][1]["link"] = 2
            inside["links"].append(wire(2, -10, 1, 5, 1))
    if version:
        nested["extra"] = {"frontendVersion": version}
    assert parse(nested, catalog).nodes["2:5"].inputs["b"] == value


def test_value_is_promoted_through_two_levels(catalog: Catalog, nested: Json) -> None:
    outer = nested["definitions"]["subgraphs"][1]
    outer["nodes"][0]["properties"] = {"proxyWidgets": [["5", "b"]]}
    nested["nodes"][0]["properties"] = {"proxyWidgets": [["9", "b"]]}
    nested["nodes"][0]["widgets_values"] = [33]
    assert parse(nested, catalog).nodes["1:9:5"].inputs["b"] == 33


def test_subgraphs_in_subgraphs_end(catalog: Catalog, node: Draw, drawing: Draw) -> None:
    def level(at: int, times: int) -> Json:
        inside = [node(key, f"s{at + 1}") for key in range(times)]
        return {"id": f"s{at}", "nodes": inside, "links": [], "inputs": [], "outputs": []}

    bomb = {"subgraphs": [level(at, 10) for at in range(12)]}
    with pytest.raises(InvalidWorkflow, match="at most 20,000 nodes"):
        parse(drawing([node(1, "s0")], [], definitions=bomb), catalog)
    tower = {"subgraphs": [level(at, 1) for at in range(2000)]}
    with pytest.raises(InvalidWorkflow, match="more than 50 levels"):
        parse(drawing([node(1, "s0")], [], definitions=tower), catalog)


def test_long_chain_of_reroutes_is_refused(catalog: Catalog, node: Draw, drawing: Draw) -> None:
    nodes = [node(key, "Reroute", [], "in:*", "*") for key in range(2000)]
    nodes.append(node(2000, "Show", [], "value:*"))
    links = [(key, 0, key + 1, "in") for key in range(1999)]
    with pytest.raises(InvalidWorkflow, match="nested too deeply"):
        parse(drawing(nodes, [*links, (1999, 0, 2000, "value")]), catalog)


def test_subgraph_within_itself_is_refused(catalog: Catalog, nested: Json) -> None:
    nested["definitions"]["subgraphs"][1]["nodes"][0]["type"] = "outer"
    with pytest.raises(InvalidWorkflow, match="subgraph outer, which contains itself"):
        parse(nested, catalog)


def test_upload_button_of_an_image_is_left_out(catalog: Catalog, node: Draw) -> None:
    graph = parse({"nodes": [node(1, "LoadImage", ["a.png", "image"])], "links": []}, catalog)
    assert graph.nodes["1"].inputs == {"image": "a.png"}


def test_circle_of_reroutes_is_refused(catalog: Catalog, node: Draw, drawing: Draw) -> None:
    nodes = [
        node(1, "Reroute", [], "in:*", "*"),
        node(2, "Reroute", [], "in:*", "*"),
        node(3, "Show", [], "value:*"),
    ]
    with pytest.raises(InvalidWorkflow, match="links without a circle"):
        parse(drawing(nodes, [(1, 0, 2, "in"), (2, 0, 1, "in"), (2, 0, 3, "value")]), catalog)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"nodes": [{"type": "Show"}]}, "nodes of the workflow that cannot be read"),
        ({"nodes": [{"id": 1, "type": "Show", "widgets_values": 3}]}, "nodes of the workflow"),
        ({"nodes": [{"id": 1, "type": "Show", "inputs": [{"link": 1}]}]}, "inputs of node 1"),
        ({"nodes": [{"id": 1, "type": "Show", "outputs": [1]}]}, "outputs of node 1"),
        ({"nodes": [{"id": 1, "type": "Show", "properties": 1}]}, "proxyWidgets of node 1"),
        ({"definitions": [1]}, "definitions that are no object"),
        ({"definitions": {"subgraphs": [{"id": "a", "inputs": [1]}]}}, "subgraphs of definitions"),
        ({"definitions": {"subgraphs": [{"id": "a", "nodes": 1}]}}, "nodes of subgraph a"),
        ({"links": 1}, "links of the workflow"),
        ({"links": [[1, 1, -1, 2, 0, "INT"]]}, r"the link \[1, 1, -1"),
        ({"links": []}, "link 1 of node 2, which is not there"),
        ({"links": [[1, 77, 0, 2, 0, "INT"]]}, "a link from node 77, which is not there"),
        ({"links": [[1, 2]]}, r"the link \[1, 2\]"),
    ],
)
def test_file_that_contradicts_itself_is_refused(
    catalog: Catalog, node: Draw, drawing: Draw, change: Json, got: str
) -> None:
    nodes = [node(1, "Number", [1], outputs="INT"), node(2, "Show", [], "value:*")]
    with pytest.raises(InvalidWorkflow, match=got):
        parse(drawing(nodes, [(1, 0, 2, "value")]) | change, catalog)
