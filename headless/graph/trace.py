"""One level of an editor file, and where its links lead.

The editor draws more than it runs: reroutes, primitives, bypassed nodes and subgraphs are seen
through until a node is found that runs, or a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ...core.errors import InvalidWorkflow
from .graph import Link
from .inputs import fits
from .schema import damaged

MUTED, BYPASSED = 2, 4
#: Ids of the two ends of a subgraph, in the links within it.
SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = "-10", "-20"
#: Drawn only; nothing of them runs.
VIRTUAL = frozenset({"Reroute", "PrimitiveNode", "Note", "MarkdownNote"})

RawNode = Mapping[str, Any]


class Constant(NamedTuple):
    """A value that reaches an input over a link: from a primitive, or a subgraph's own widget."""

    value: Any


class Wire(NamedTuple):
    """A link of the file."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(eq=False)
class Level:
    """The main graph, or one use of a subgraph.

    Attributes:
        content: the nodes and links, as saved.
        subgraphs: every definition of the file, by id.
        path: ids of the subgraph nodes around it, outermost first.
        parent: the level around it, and `instance`, the subgraph node there.
        inputs: values of the subgraph node's own widgets, by input name.
    """

    content: Mapping[str, Any]
    subgraphs: Mapping[str, Mapping[str, Any]]
    path: tuple[str, ...] = ()
    parent: Level | None = None
    instance: RawNode = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> dict[str, RawNode]:
        """The nodes by id."""
        return {str(node["id"]): node for node in self.content.get("nodes") or []}

    @cached_property
    def wires(self) -> dict[str, Wire]:
        """The links by id."""
        return dict(_wire(link) for link in self.content.get("links") or [] if link is not None)

    def api_id(self, node: RawNode) -> str:
        """The node's id in the flat graph: `outer:inner`."""
        return ":".join((*self.path, str(node["id"])))

    def running(self) -> Iterator[tuple[Level, RawNode]]:
        """The nodes that run, with those inside of subgraphs."""
        for node in self.nodes.values():
            if node.get("mode") in (MUTED, BYPASSED) or node["type"] in VIRTUAL:
                continue
            if node["type"] in self.subgraphs:
                yield from self.enter(node).running()
            else:
                yield self, node

    def enter(self, node: RawNode) -> Level:
        """The inside of a subgraph node."""
        level: Level | None = self
        while level is not None:
            if level.instance.get("type") == node["type"]:
                raise damaged(f"subgraph {node['type']}, which contains itself")
            level = level.parent
        path = (*self.path, str(node["id"]))
        return Level(self.subgraphs[node["type"]], self.subgraphs, path, self, node, _held(node))

    def source(self, node: RawNode, slot: int) -> Link | Constant | None:
        """What reaches an input of a node, or None."""
        return self._input(node, slot, None, set())

    def _input(
        self, node: RawNode, slot: int, kind: str | None, seen: set[tuple[str, str, int]]
    ) -> Link | Constant | None:
        """What reaches an input; `kind` is the type that is wanted, None for the input's own."""
        wire_id = node["inputs"][slot].get("link")
        if wire_id is None:
            return None
        wire = self.wires.get(str(wire_id))
        if wire is None:
            raise damaged(f"link {wire_id} of node {self.api_id(node)}, which is not there")
        if (self.api_id(node), "in", slot) in seen:
            raise InvalidWorkflow(
                "links without a circle",
                f"a circle through node {self.api_id(node)}",
                "Take one of its links away.",
            )
        seen.add((self.api_id(node), "in", slot))
        own = str(node["inputs"][slot].get("type", "*"))
        return self._wire_source(wire, own if kind is None else kind, seen)

    def _wire_source(
        self, wire: Wire, kind: str, seen: set[tuple[str, str, int]]
    ) -> Link | Constant | None:
        if wire.origin == SUBGRAPH_INPUTS and self.parent is not None:
            return self._outside(wire.origin_slot, seen)
        if wire.origin not in self.nodes:
            raise damaged(f"a link from node {wire.origin}, which is not there")
        return self._output(self.nodes[wire.origin], wire.origin_slot, kind, seen)

    def _outside(self, slot: int, seen: set[tuple[str, str, int]]) -> Link | Constant | None:
        declared = self.content.get("inputs") or []
        if slot >= len(declared):
            raise damaged(f"input {slot} of subgraph node {':'.join(self.path)}")
        name = declared[slot]["name"]
        names = [entry.get("name") for entry in self.instance.get("inputs") or []]
        if self.parent is not None and name in names:
            outer = self.parent._input(self.instance, names.index(name), None, seen)
            if outer is not None:
                return outer
        return Constant(self.inputs[name]) if name in self.inputs else None

    def _output(
        self, node: RawNode, slot: int, kind: str, seen: set[tuple[str, str, int]]
    ) -> Link | Constant | None:
        if node.get("mode") == MUTED:
            return None
        if node.get("mode") == BYPASSED:
            through = _bypass(node, slot, kind)
            return None if through is None else self._input(node, through, None, seen)
        if node["type"] in self.subgraphs:
            inside = self.enter(node)
            for wire in inside.wires.values():
                if (wire.target, wire.target_slot) == (SUBGRAPH_OUTPUTS, slot):
                    return inside._wire_source(wire, kind, seen)
            return None
        if node["type"] == "Reroute":
            return self._input(node, 0, kind, seen) if node.get("inputs") else None
        if node["type"] == "PrimitiveNode":
            values = node.get("widgets_values")
            return Constant(values[0]) if isinstance(values, list) and values else None
        if node["type"] in VIRTUAL:
            return None
        return Link(self.api_id(node), slot)


def _wire(link: Any) -> tuple[str, Wire]:
    if isinstance(link, dict):
        link = [
            link.get(key)
            for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        ]
    if not (isinstance(link, list) and len(link) >= 5 and _is_slot(link[2])):
        raise damaged(f"the link {link}")
    return str(link[0]), Wire(str(link[1]), link[2], str(link[3]), link[4])


def _is_slot(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _bypass(node: RawNode, slot: int, kind: str) -> int | None:
    """The input that a bypassed node hands on: the one at the same place, else of the same type."""
    kinds = [str(entry.get("type", "*")) for entry in node.get("inputs") or []]
    outputs = node.get("outputs") or []
    if kind == "*" and kinds:
        return slot if slot < len(kinds) else 0
    if slot >= len(outputs):
        return None
    given = str(outputs[slot].get("type", "*"))
    matching = [at for at, own in enumerate(kinds) if fits(own, given) and fits(own, kind)]
    if slot in matching:
        return slot
    exact = [at for at, own in enumerate(kinds) if own == kind]
    return next(iter(exact + matching), None)


def _held(node: RawNode) -> dict[str, Any]:
    """Values that a subgraph node itself holds, by input name.

    Newer editors write them into the nodes inside, and none here.
    """
    values = node.get("widgets_values")
    proxies = (node.get("properties") or {}).get("proxyWidgets")
    if proxies is None:
        # Before there was a list of them, every input with a widget had one.
        entries = node.get("inputs") or []
        proxies = [("-1", entry["name"]) for entry in entries if "widget" in entry]
    if not isinstance(values, list):
        return {}
    return {
        name: value
        for (owner, name, *_), value in zip(proxies, values, strict=False)
        if str(owner) == "-1" and value is not None
    }
