import copy
from collections.abc import Callable
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidWorkflow
from batch_sdxl.headless.cli.settings import apply
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.graph import Graph
from batch_sdxl.headless.graph.workflow import parse

Json = dict[str, Any]
SEEDED = {"seed": 1, "mode": "slow", "share": 0.5, "exact": True}


@pytest.fixture
def graph(catalog: Catalog) -> Graph:
    def entry(kind: str, title: str, inputs: Json) -> Json:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    return parse(
        {
            "1": entry("Seeded", "v1.5 = best", SEEDED),
            "2": entry("Number", "Twin", {"value": 1}),
            "3": entry("Number", "Twin", {"value": 2}),
            "4": entry("Add", "2", {"a": ["2", 0], "b": 1}),
        },
        catalog,
    )


@pytest.mark.parametrize(
    ("assignment", "node_id", "name", "value"),
    [
        ("1.seed=18446744073709551615", "1", "seed", 2**64 - 1),
        ("v1.5 = best.seed=4", "1", "seed", 4),
        ("v1.5 = best.note=a=b.c", "1", "note", "a=b.c"),
        ("1.mode=fast", "1", "mode", "fast"),
        ("1.exact=false", "1", "exact", False),
        ("1.share=0.125", "1", "share", 0.125),
        ("1.note=", "1", "note", ""),
        ("2.value=9", "2", "value", 9),  # an id goes before a title
    ],
)
def test_value_is_put_by_id_or_title(
    graph: Graph, catalog: Catalog, assignment: str, node_id: str, name: str, value: Any
) -> None:
    before = graph.api()
    put = apply(graph, catalog, [assignment]).nodes[node_id].inputs[name]
    assert put == value
    assert type(put) is type(value)
    assert graph.api() == before


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("Twin.value=1", r'one node for "Twin.value=1", got "Twin" \(node 2\), "Twin" \(node 3\)'),
        ("Nobody.value=1", r'node of the workflow: "v1.5 = best" \(node 1\), "Twin" .* "Nobody'),
        ("1.seed", "NODE.INPUT=VALUE"),
        ("1.sed=4", r'has a value: seed, mode, share, exact, note, got "sed"'),
        ("4.a=4", 'that has a value: b, got "a"'),
        ("1.seed=x", r'a whole number for input seed of .*, got "x"'),
        ("1.exact=perhaps", 'true or false for input exact .* got "perhaps"'),
    ],
)
def test_assignment_that_fits_nothing_is_refused(
    graph: Graph, catalog: Catalog, assignment: str, message: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=message):
        apply(graph, catalog, [assignment])


def test_an_input_set_twice_is_refused(graph: Graph, catalog: Catalog) -> None:
    apply(graph, catalog, ["2.value=1", "3.value=1"])
    with pytest.raises(InvalidWorkflow, match=r"one value of seed of .*, got '1' and '2'"):
        apply(graph, catalog, ["1.seed=1", "v1.5 = best.seed=2"])


def test_drawing_says_what_runs(
    catalog: Catalog, node: Callable[..., Json], drawing: Callable[..., Json]
) -> None:
    nodes = [
        node(1, "PrimitiveNode", [5], outputs="INT"),
        node(2, "Number", [1], "value:INT:w", "INT"),
        node(3, "Seeded", [7, "fixed", "slow"]),
        node(4, "Add", [1], "a:INT b:INT:w", "INT"),
    ]
    saved = drawing(nodes, [(1, 0, 2, "value"), (2, 0, 4, "a"), (2, 0, 4, "b")])
    before = copy.deepcopy(saved)
    graph = parse(saved, catalog)
    changed = apply(graph, catalog, ["3.mode=fast", "3.seed=9"])
    assert changed.editor is not None
    assert changed.editor["nodes"][2]["widgets_values"] == [9, "fixed", "fast"]
    assert saved == before
    # The primitive's own value would say 5, so there is rather no drawing.
    assert apply(graph, catalog, ["2.value=6", "3.seed=9"]).editor is None
    with pytest.raises(InvalidWorkflow, match=r'takes its value from "A Number" \(node 2\)'):
        apply(graph, catalog, ["4.b=4"])


@pytest.mark.parametrize(
    ("assignment", "said"),
    [("Twn.value=1", "Twin"), ("1.sed=1", "seed"), ("1.mode=fats", None)],
)
def test_what_was_meant_is_told(
    graph: Graph, catalog: Catalog, assignment: str, said: str | None
) -> None:
    if said is None:  # a wrong choice is told when all of the graph is checked
        assert apply(graph, catalog, [assignment]).nodes["1"].inputs["mode"] == "fats"
        return
    with pytest.raises(InvalidWorkflow, match=f'Did you mean "{said}"'):
        apply(graph, catalog, [assignment])
