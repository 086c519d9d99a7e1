"""A workflow, whichever file it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Link(NamedTuple):
    """An output of another node."""

    node_id: str
    slot: int


@dataclass(frozen=True)
class Node:
    """A node and what its inputs are: a `Link` or a constant."""

    class_type: str
    title: str
    inputs: Mapping[str, Any]

    def links(self) -> Iterator[tuple[str, Link]]:
        """The inputs that are connected."""
        return ((name, value) for name, value in self.inputs.items() if isinstance(value, Link))


@dataclass(frozen=True)
class Graph:
    """Nodes by id, in the order of the file.

    Attributes:
        nodes: only those that can run: nothing muted, bypassed or drawn for people.
        editor: what ComfyUI's editor saved, if the graph came from there.
        places: where in `editor` the constant of (node id, input) is written.
        words: what whoever asked calls the input (node id, input), where that is not the graph's
            own name: an option of the command line.
    """

    nodes: Mapping[str, Node]
    editor: Mapping[str, Any] | None = None
    places: Mapping[tuple[str, str], tuple[str | int, ...]] = field(default_factory=dict)
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def where(self, node_id: str, name: str) -> str:
        """The name of a node's input in messages."""
        return self.words.get((node_id, name)) or f"input {name} of {self.label(node_id)}"

    def label(self, node_id: str) -> str:
        """The node's name in messages."""
        return f'"{self.nodes[node_id].title}" (node {node_id})'

    def api(self) -> dict[str, Any]:
        """The graph as ComfyUI's server takes it, and as a picture's `prompt` says it."""
        return {
            node_id: {
                "inputs": {name: _constant(value) for name, value in node.inputs.items()},
                "class_type": node.class_type,
                "_meta": {"title": node.title},
            }
            for node_id, node in self.nodes.items()
        }


def _constant(value: Any) -> Any:
    if isinstance(value, Link):
        return [value.node_id, value.slot]
    # A bare list could be read as a link.
    return {"__value__": value} if isinstance(value, list) else value
