"""Which nodes of a graph run, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from ...core.errors import BatchSDXLError, InvalidWorkflow
from ...core.wording import meant
from .catalog import Catalog
from .graph import Graph, Link


def outputs_in(graph: Graph, catalog: Catalog) -> list[str]:
    """Ids of the nodes that save or show something."""
    return [
        node_id
        for node_id, node in graph.nodes.items()
        if getattr(catalog.classes.get(node.class_type), "OUTPUT_NODE", False)
    ]


def order_of(
    graph: Graph, outputs: Iterable[str], problems: list[BatchSDXLError]
) -> tuple[str, ...]:
    """The nodes that outputs need, each after those that it needs.

    Args:
        graph: the graph.
        outputs: ids of nodes.
        problems: takes what is wrong with links, but for circles.

    Raises:
        InvalidWorkflow: links make a circle.
    """
    order: dict[str, None] = {}
    for output in outputs:
        needed: dict[str, list[str]] = {}
        waiting = [output]
        while waiting:
            node_id = waiting.pop()
            if node_id in needed or node_id in order:
                continue
            needed[node_id] = []
            for name, link in graph.nodes[node_id].links():
                if link.node_id in graph.nodes:
                    needed[node_id].append(link.node_id)
                else:
                    problems.append(_no_source(graph, node_id, name, link))
            waiting += needed[node_id]
        try:
            ordered = TopologicalSorter(needed).static_order()
            order |= dict.fromkeys(ordered)
        except CycleError as error:
            circle = few(map(graph.label, error.args[1]), " -> ")
            raise InvalidWorkflow(
                "links without a circle", circle, "Take one of these links away."
            ) from None
    return tuple(order)


def models_last(graph: Graph, catalog: Catalog, ordered: Iterable[str]) -> tuple[str, ...]:
    """The same nodes, those that need no model first: what is wrong with them costs no loading."""
    late: dict[str, None] = {}
    first = []
    for node_id in ordered:
        node = graph.nodes[node_id]
        loads = hasattr(catalog.classes.get(node.class_type), "LOADS")
        if loads or any(link.node_id in late for _, link in node.links()):
            late[node_id] = None
        else:
            first.append(node_id)
    return (*first, *late)


def few(labels: Iterable[str], between: str = ", ") -> str:
    """The first of some names, for a message."""
    labels = list(labels)
    return between.join([*labels[:20], *(["…"] if len(labels) > 20 else [])])


def _no_source(graph: Graph, node_id: str, name: str, link: Link) -> InvalidWorkflow:
    near = meant(link.node_id, graph.nodes)
    return InvalidWorkflow(
        f"a link to a node of the workflow for {graph.where(node_id, name)}",
        f"node {link.node_id}, which is not there",
        near or "Connect it to another node.",
    )
