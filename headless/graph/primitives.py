"""ComfyUI's nodes that only hold a value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .graph import Graph, Link
from .inputs import inputs_of
from .stock import CLASSES, PRIMITIVES
from .values import cast


def without_primitives(graph: Graph) -> Graph:
    """The graph with the values of primitive nodes where they lead."""

    def value(link: Any, seen: tuple[str, ...] = ()) -> Any:
        if not isinstance(link, Link) or link.node_id not in graph.nodes or link.node_id in seen:
            return link
        node = graph.nodes[link.node_id]
        if node.class_type not in PRIMITIVES or link.slot != 0 or len(seen) > 100:
            return link
        item = inputs_of(CLASSES[node.class_type])["value"]
        if "value" not in node.inputs:
            return item.default()
        own = value(node.inputs["value"], (*seen, link.node_id))
        return own if isinstance(own, Link) else cast(item, own, graph.where(link.node_id, "value"))

    nodes = {
        node_id: replace(node, inputs={name: value(one) for name, one in node.inputs.items()})
        for node_id, node in graph.nodes.items()
        if node.class_type not in PRIMITIVES
    }
    return graph if len(nodes) == len(graph.nodes) else replace(graph, nodes=nodes)
