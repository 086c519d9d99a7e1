"""Values that a person puts into a graph: `NODE.INPUT=VALUE`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...core.errors import InvalidWorkflow
from ...core.wording import brief, meant
from ..graph.catalog import Catalog
from ..graph.graph import Graph, Link
from ..graph.inputs import inputs_of
from ..graph.values import from_text


def apply(graph: Graph, catalog: Catalog, assignments: Iterable[str]) -> Graph:
    """The graph with those values, and its drawing with them too.

    Args:
        graph: where to put them.
        catalog: the classes of its nodes.
        assignments: each `NODE.INPUT=VALUE`; NODE is an id or a title.

    Raises:
        InvalidWorkflow: there is no such node or input, it is named twice, or the value is none of
            its type.
    """
    done: dict[tuple[str, str], str] = {}
    for assignment in assignments:
        node_id, name, text = _find(graph, assignment)
        if (node_id, name) in done:
            raise InvalidWorkflow(
                f"one value of {name} of {graph.label(node_id)}",
                f"{brief(done[node_id, name])} and {brief(text)}",
                "Leave one of them out.",
            )
        done[node_id, name] = text
        graph = put(graph, catalog, node_id, name, text)
    return graph


def _find(graph: Graph, assignment: str) -> tuple[str, str, str]:
    """The node, input and value. Titles may hold dots, blanks and equals signs."""
    by_id: list[tuple[str, str, str]] = []
    by_title: list[tuple[str, str, str]] = []
    for node_id, node in graph.nodes.items():
        for named, found in ((node_id, by_id), (node.title, by_title)):
            rest = assignment.removeprefix(f"{named}.")
            name, equals, text = rest.partition("=")
            if rest != assignment and equals:
                found.append((node_id, name, text))
    matches = by_id or by_title
    if len(matches) == 1:
        return matches[0]
    labels = ", ".join(map(graph.label, [match[0] for match in matches] or graph.nodes))
    if matches:
        raise InvalidWorkflow(
            f'one node for "{assignment}"', labels, "Name the node by its id, as in 3.seed=7."
        )
    raise InvalidWorkflow(
        f"NODE.INPUT=VALUE with a node of the workflow: {labels}",
        f'"{assignment}"',
        _near_node(graph, assignment) or "Name the node by its id or its title.",
    )


def _near_node(graph: Graph, assignment: str) -> str:
    named = assignment.partition("=")[0].rpartition(".")[0]
    return meant(named, [*(node.title for node in graph.nodes.values()), *graph.nodes])


def put(graph: Graph, catalog: Catalog, node_id: str, name: str, text: str) -> Graph:
    """The graph with one value that a person typed.

    Raises:
        InvalidWorkflow: there is no such input, or the value is none of its type.
    """
    node = graph.nodes[node_id]
    node_class = catalog.declared(node.class_type)
    if node_class is None:
        catalog.require(graph, [node_id])
    declared = {} if node_class is None else inputs_of(node_class)
    if name not in declared or not declared[name].is_widget:
        widgets = ", ".join(item.name for item in declared.values() if item.is_widget)
        raise InvalidWorkflow(
            f"an input of {graph.label(node_id)} that has a value: {widgets or 'it has none'}",
            f'"{name}"',
            meant(name, declared) or "Name one of these.",
        )
    held = node.inputs.get(name)
    if isinstance(held, Link):
        raise InvalidWorkflow(
            f"an input of {graph.label(node_id)} that is not connected",
            f"{name}, which takes its value from {graph.label(held.node_id)}",
            "Set the value there.",
        )
    value = from_text(declared[name], text, graph.where(node_id, name))
    changed = replace(node, inputs={**node.inputs, name: value})
    place = graph.places.get((node_id, name))
    # A drawing that would say something else than what ran is worse than none.
    drawing = None if graph.editor is None or place is None else _drawn(graph.editor, place, value)
    return replace(graph, nodes={**graph.nodes, node_id: changed}, editor=drawing)


def _drawn(editor: Mapping[str, Any], place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    drawing = copy.deepcopy(dict(editor))
    *path, key = place
    at: Any = drawing
    for step in path:
        at = at[step]
    at[key] = value
    return drawing
