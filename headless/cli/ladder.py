"""What a run changes about its graph where memory is too small for it, before it goes on."""

from __future__ import annotations

from ...core.errors import OutOfMemory
from ..graph.catalog import Catalog
from ..graph.graph import Graph, Link
from ..graph.inputs import inputs_of
from . import settings


def easier(
    graph: Graph, catalog: Catalog, at: str, error: OutOfMemory, *, may_change_bits: bool
) -> tuple[Graph, str] | None:
    """A graph that needs less memory, and what is other about it; None for no way left.

    Args:
        graph: that ran.
        catalog: the classes of its nodes.
        at: id of the node that it failed in.
        error: what it said.
        may_change_bits: whether images may come out otherwise than in a run without it.
    """
    for way in error.ways:
        if not (way.keeps_bits or may_change_bits):
            continue
        for node_id in _before(graph, at):
            node = graph.nodes[node_id]
            node_class = catalog.classes.get(node.class_type)
            value = node.inputs.get(way.name)
            if node_class is None or isinstance(value, Link) or value == way.value:
                continue
            if way.name == "offload" and node.inputs.get("compile"):
                continue  # not both
            if way.name in inputs_of(node_class):
                text = str(way.value).lower()
                changed = settings.put(graph, catalog, node_id, way.name, text)
                return changed, f"{way.name} of {graph.label(node_id)} is set to {text}"
    return None


def _before(graph: Graph, node_id: str) -> list[str]:
    """A node and those that its images' model comes through."""
    found = [node_id]
    while isinstance(link := graph.nodes[found[-1]].inputs.get("model"), Link):
        found.append(link.node_id)
    return found
