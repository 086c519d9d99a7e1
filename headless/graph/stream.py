"""Which nodes take the images of another one by one, as they are there.

A node class says that it can: `GIVES` is the name of its method that returns a `Gives`, `TAKES` of
one that returns a `Takes`, and `EACH_ALONE` the input whose images it works on each by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .catalog import Catalog
from .check import Plan
from .graph import Link

#: What both ends of a stream call what goes along it.
_IMAGES, _ROWS = "images", "rows"


@dataclass(frozen=True)
class Taker:
    """A node that takes images one by one.

    Attributes:
        node_id: of it.
        between: ids of nodes on the way there, first one first.
    """

    node_id: str
    between: tuple[str, ...]


class Streams:
    """The streams of a graph."""

    def __init__(self, plan: Plan, catalog: Catalog) -> None:
        """Look at the nodes that run."""
        self._plan = plan
        self._catalog = catalog
        self._sources = {
            node_id: {link.node_id for _, link in plan.graph.nodes[node_id].links()}
            for node_id in plan.order
        }

    def takers(self, giver: str) -> list[Taker]:
        """The nodes that can take all that a node gives, in the order of the plan."""
        if not hasattr(self._class(giver), "GIVES"):
            return []
        after = self._after(giver)
        found = []
        for node_id in self._plan.order:
            if node_id in after and hasattr(self._class(node_id), "TAKES"):
                between = self._way(giver, node_id, after)
                if between is not None:
                    found.append(Taker(node_id, between))
        return found

    def before(self, taker: Taker, giver: str) -> Iterator[str]:
        """The other nodes that a taker and those on its way need, in the order of the plan."""
        needed = set()
        waiting = [taker.node_id, *taker.between]
        while waiting:
            for source in self._sources[waiting.pop()] - {giver, *taker.between}:
                if source not in needed:
                    needed.add(source)
                    waiting.append(source)
        return (node_id for node_id in self._plan.order if node_id in needed)

    def readers(self, node_id: str) -> set[str]:
        """The nodes that read a node's outputs."""
        return {reader for reader, sources in self._sources.items() if node_id in sources}

    def read(self, node_id: str, but: Collection[str]) -> set[str]:
        """Names of a node's outputs that others than these nodes read."""
        names: tuple[str, ...] = self._class(node_id).RETURN_NAMES
        links = (
            link
            for reader in self.readers(node_id) - {*but}
            for _, link in self._plan.graph.nodes[reader].links()
        )
        return {names[link.slot] for link in links if link.node_id == node_id}

    def image_input(self, node_id: str) -> str:
        """The input that images reach a node by."""
        return str(self._class(node_id).EACH_ALONE)

    def _way(self, giver: str, taker: str, after: set[str]) -> tuple[str, ...] | None:
        """The nodes between, None where something else is in the way."""
        inputs = self._plan.graph.nodes[taker].inputs
        if inputs.get(_ROWS) != Link(giver, self._slot(giver, _ROWS)):
            return None
        between: list[str] = []
        node_id, name = taker, _IMAGES
        while True:
            inputs = self._plan.graph.nodes[node_id].inputs
            others = [value for key, value in inputs.items() if key not in (name, _ROWS)]
            if any(self._follows(value, giver, after) for value in others):
                return None
            link = inputs.get(name)
            if link == Link(giver, self._slot(giver, _IMAGES)):
                return tuple(reversed(between))
            if not isinstance(link, Link) or link.slot != 0:
                return None
            node_id = link.node_id
            name = getattr(self._class(node_id), "EACH_ALONE", "")
            if not name:
                return None
            between.append(node_id)

    def _follows(self, value: Any, giver: str, after: set[str]) -> bool:
        return isinstance(value, Link) and (value.node_id == giver or value.node_id in after)

    def _after(self, giver: str) -> set[str]:
        """The nodes that need a node's outputs, over any number of others."""
        after: set[str] = set()
        for node_id in self._plan.order:
            if self._sources[node_id] & {giver, *after}:
                after.add(node_id)
        return after

    def _slot(self, node_id: str, name: str) -> int:
        names: tuple[str, ...] = self._class(node_id).RETURN_NAMES
        return names.index(name)

    def _class(self, node_id: str) -> type[Any]:
        nodes: Mapping[str, Any] = self._plan.graph.nodes
        return self._catalog.classes[nodes[node_id].class_type]
