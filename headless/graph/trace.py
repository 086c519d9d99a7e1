"""One level of an editor file, and where its links lead.

The editor draws more than it runs: reroutes, primitives, bypassed nodes and subgraphs are seen
through until a node is found that runs, or a constant.
"""

from __future__ import annotations

import re
from collections import Counter
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

#: Nodes of a whole workflow, and levels of subgraphs: some kilobytes can claim any number.
MOST_NODES, MOST_LEVELS = 20_000, 50

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
        promoted: values that the subgraph node holds of widgets inside, by node and widget.
        hosts_win: whether a subgraph node's value goes before the one of the widget inside.
        count: nodes seen in the whole file, shared by all levels.
    """

    content: Mapping[str, Any]
    subgraphs: Mapping[str, Mapping[str, Any]]
    path: tuple[str, ...] = ()
    parent: Level | None = None
    instance: RawNode = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    promoted: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    hosts_win: bool = True
    count: Counter[str] = field(default_factory=Counter)
    _entered: dict[str, Level] = field(default_factory=dict)

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
            self.count["nodes"] += 1
            if self.count["nodes"] > MOST_NODES:
                raise _too_many()
            if node.get("mode") in (MUTED, BYPASSED) or node["type"] in VIRTUAL:
                continue
            if node["type"] in self.subgraphs:
                yield from self.enter(node).running()
            else:
                yield self, node

    def enter(self, node: RawNode) -> Level:
        """The inside of a subgraph node."""
        key = str(node["id"])
        if key not in self._entered:
            self._entered[key] = self._enter(node)
        return self._entered[key]

    def _enter(self, node: RawNode) -> Level:
        if len(self.path) >= MOST_LEVELS:
            raise damaged(f"subgraphs in more than {MOST_LEVELS} levels")
        level: Level | None = self
        while level is not None:
            if level.instance.get("type") == node["type"]:
                raise damaged(f"subgraph {node['type']}, which contains itself")
            level = level.parent
        content = self.subgraphs[node["type"]]
        inside = Level(
            content,
            self.subgraphs,
            (*self.path, str(node["id"])),
            self,
            node,
            hosts_win=self.hosts_win,
            count=self.count,
        )
        own, promoted = _held(node, inside, self.hosts_win)
        # What is promoted through two levels is written on the outer subgraph node.
        own |= self.promoted_to(node)
        inside.inputs, inside.promoted = own, promoted
        return inside

    def promoted_to(self, node: RawNode) -> dict[str, Any]:
        """The values of a node's widgets that the subgraph node around it holds."""
        return {name: v for (owner, name), v in self.promoted.items() if owner == str(node["id"])}

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


def _held(
    node: RawNode, inside: Level, hosts_win: bool
) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Values that a subgraph node itself holds: by input name, and by node and widget inside.

    Editors from 1.28 to 1.45 keep the value of a promoted widget inside, and list those widgets
    in `proxyWidgets`. Earlier and later ones keep it on the subgraph node, one for each input
    that leads to a widget.
    """
    values = node.get("widgets_values")
    if not isinstance(values, list):
        return {}, {}
    proxies = (node.get("properties") or {}).get("proxyWidgets")
    if not proxies:
        names = _widget_inputs(inside) if hosts_win else []
        proxies = [("-1", name) for name in names]
    own: dict[str, Any] = {}
    promoted: dict[tuple[str, str], Any] = {}
    for (owner, name, *_), value in zip(proxies, values, strict=False):
        if value is None:
            continue
        if str(owner) == "-1":
            own[name] = value
        elif hosts_win:
            promoted[str(owner), name] = value
    return own, promoted


def _widget_inputs(inside: Level) -> list[str]:
    """The inputs of a subgraph that lead to a widget in it."""
    slots = {
        wire.origin_slot
        for wire in inside.wires.values()
        if wire.origin == SUBGRAPH_INPUTS and _is_widget(inside, wire)
    }
    declared = inside.content.get("inputs") or []
    return [entry["name"] for slot, entry in enumerate(declared) if slot in slots]


def _is_widget(inside: Level, wire: Wire) -> bool:
    entries = inside.nodes.get(wire.target, {}).get("inputs") or []
    slot = wire.target_slot
    return _is_slot(slot) and slot < len(entries) and "widget" in entries[slot]


def hosts_win(content: Mapping[str, Any]) -> bool:
    """Whether the editor that saved a file lets a subgraph node's own values win."""
    extra = content.get("extra")
    version = extra.get("frontendVersion") if isinstance(extra, dict) else None
    match = re.match(r"(\d{1,6})\.(\d{1,6})", version) if isinstance(version, str) else None
    return match is None or not (1, 28) <= (int(match[1]), int(match[2])) < (1, 46)


def _too_many() -> InvalidWorkflow:
    return InvalidWorkflow(
        f"a workflow of at most {MOST_NODES:,} nodes, those in subgraphs counted at each use",
        "more",
        "Run a part of it.",
    )
