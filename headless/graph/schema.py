"""Whether the editor's JSON has the shape that the rest of the reader counts on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...core.errors import InvalidWorkflow


def damaged(what: str) -> InvalidWorkflow:
    """The error for a file that contradicts itself."""
    return InvalidWorkflow(
        "a workflow as the editor saves it", what, "Open it in ComfyUI and save it again."
    )


def two_of_one_id(twice: Iterable[str], where: str = "the workflow") -> InvalidWorkflow:
    """The error for nodes of which only one could run."""
    return InvalidWorkflow(
        f"nodes of {where} with an id each",
        "two of the id " + ", two of ".join(twice),
        "Give one of them another id, and correct the links to it.",
    )


def check_shape(content: Mapping[str, Any]) -> None:
    """Check the main graph and every subgraph.

    Raises:
        InvalidWorkflow: some part is of the wrong kind.
    """
    definitions = content.get("definitions") or {}
    if not isinstance(definitions, dict):
        raise damaged("definitions that are no object")
    _check(definitions, "subgraphs", _is_subgraph, "definitions")
    for graph in (content, *(definitions.get("subgraphs") or [])):
        where = f"subgraph {graph['id']}" if graph is not content else "the workflow"
        _check(graph, "nodes", _is_node, where)
        twice = [key for key, times in Counter(_ids(graph)).items() if times > 1]
        if twice:
            raise two_of_one_id(twice, where)
        _check(graph, "links", lambda link: isinstance(link, list | dict | None), where)
        for node in graph.get("nodes") or []:
            where = f"node {node['id']}"
            _check(node, "inputs", _is_named, where)
            _check(node, "outputs", lambda slot: isinstance(slot, dict), where)
            _check(node.get("properties") or {}, "proxyWidgets", _is_proxy, where)


def _check(owner: Any, key: str, is_right: Callable[[Any], bool], where: str) -> None:
    values = owner.get(key) or [] if isinstance(owner, dict) else None
    if not isinstance(values, list) or not all(map(is_right, values)):
        raise damaged(f"{key} of {where} that cannot be read")


def _ids(graph: Mapping[str, Any]) -> list[str]:
    return [str(node["id"]) for node in graph.get("nodes") or []]


def _is_named(slot: Any) -> bool:
    return isinstance(slot, dict) and isinstance(slot.get("name"), str)


def _is_subgraph(graph: Any) -> bool:
    return isinstance(graph, dict) and "id" in graph and all(map(_is_named, _slots(graph)))


def _slots(graph: Mapping[str, Any]) -> list[Any]:
    slots = graph.get("inputs") or []
    return slots if isinstance(slots, list) else [None]


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("id"), int | str)
        and isinstance(node.get("type"), str)
        and isinstance(node.get("widgets_values"), list | dict | None)
    )


def _is_proxy(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[1], str)
