"""The node classes that run without ComfyUI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import InvalidWorkflow
from ...core.wording import meant
from .graph import Graph, Node
from .inputs import inputs_of


@dataclass(frozen=True)
class Catalog:
    """Node classes by the name that workflows use, and their names for people.

    Attributes:
        classes: those that run.
        titles: what the editor calls a fresh node of a class.
        stock: classes that only say what inputs they have: nodes of ComfyUI that `convert` knows.
        refused: what to do in place of other nodes of ComfyUI.
    """

    classes: Mapping[str, type[Any]]
    titles: Mapping[str, str] = field(default_factory=dict)
    stock: Mapping[str, type[Any]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def title(self, class_type: str) -> str:
        """What the editor calls a fresh node of that class."""
        return self.titles.get(class_type, class_type)

    def declared(self, class_type: str) -> type[Any] | None:
        """The class, whether it runs or not; None for one that only ComfyUI knows."""
        return self.classes.get(class_type) or self.stock.get(class_type)

    def fresh(self, class_type: str, **inputs: Any) -> Node:
        """A node as the editor puts it down, with some of its inputs set."""
        declared = inputs_of(self.classes[class_type]).items()
        fresh = {name: item.default() for name, item in declared if item.is_widget}
        return Node(class_type, self.title(class_type), fresh | inputs)

    def require(self, graph: Graph, needed: Iterable[str], known: Iterable[str] = ()) -> None:
        """Refuse nodes that only ComfyUI knows, each kind once, in one message.

        Args:
            graph: the graph.
            needed: ids of the nodes to look at.
            known: classes that are no hindrance either.

        Raises:
            InvalidWorkflow: the class of some node is not here.
        """
        known = {*self.classes, *known}
        unknown = {
            node_id: kind
            for node_id in needed
            if (kind := graph.nodes[node_id].class_type) not in known
        }
        if not unknown:
            return
        near = {kind: meant(kind, known) for kind in unknown.values()}
        near |= {
            kind: meant(kind, [self.title(one) for one in known])
            for kind, said in near.items()
            if not said
        }
        runs = ", ".join(sorted(self.title(kind) for kind in known))
        raise InvalidWorkflow(
            f"only nodes that run without ComfyUI ({runs})",
            foreign(unknown),
            " ".join(
                [
                    *dict.fromkeys(filter(None, near.values())),
                    *(
                        f"{kind}: {self.refused[kind]}."
                        for kind in dict.fromkeys(unknown.values())
                        if kind in self.refused
                    ),
                    "This workflow needs ComfyUI: run it there, or take those nodes out of it.",
                    "If they are Batch SDXL's own, update batch-sdxl.",
                ]
            ),
        )


def foreign(nodes: Mapping[str, str]) -> str:
    """Classes of nodes in words, each once with its number.

    Args:
        nodes: node id -> class name.
    """
    ids: dict[str, list[str]] = {}
    for node_id, kind in nodes.items():
        ids.setdefault(kind, []).append(node_id)
    return ", ".join(
        f'"{kind}" (node {its[0]})'
        if len(its) == 1
        else f'{len(its)} x "{kind}" (nodes {_listed(its)})'
        for kind, its in ids.items()
    )


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")


def installed() -> Catalog:
    """The pack's nodes, and stand-ins for the few of ComfyUI that belong to most workflows."""
    from ... import nodes
    from . import stand_ins, stock

    return Catalog(
        {**stand_ins.NODE_CLASS_MAPPINGS, **nodes.NODE_CLASS_MAPPINGS},
        {
            **stock.TITLES,
            **stand_ins.NODE_DISPLAY_NAME_MAPPINGS,
            **nodes.NODE_DISPLAY_NAME_MAPPINGS,
        },
        stock.CLASSES,
        stock.REFUSED,
    )
