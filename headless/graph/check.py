"""Everything that can be wrong with a graph, found before any node runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ...core.errors import BatchSDXLError, InvalidWorkflow
from ..notes import note
from .catalog import Catalog
from .graph import Graph, Link, Node
from .inputs import Input, fits, hidden_of, inputs_of, outputs_of
from .mapping import call
from .values import cast, check_range


@dataclass(frozen=True)
class Plan:
    """A graph that can run.

    Attributes:
        graph: with every constant of its input's type.
        order: ids of the nodes that run, each after those it needs; one output's nodes come
            before the next output's, so that results are written early.
    """

    graph: Graph
    order: tuple[str, ...]


def check(graph: Graph, catalog: Catalog) -> Plan:
    """The plan of a graph; only nodes that an output needs are looked at.

    Raises:
        InvalidWorkflow: the graph cannot run.
    """
    outputs = [
        node_id
        for node_id, node in graph.nodes.items()
        if getattr(catalog.classes[node.class_type], "OUTPUT_NODE", False)
    ]
    if not outputs:
        raise InvalidWorkflow(
            "a node that saves something, such as Save Image",
            "none that runs: " + (", ".join(map(graph.label, graph.nodes)) or "an empty graph"),
            "Add one, or turn on the one that is muted or bypassed.",
        )
    order = _order(graph, outputs)
    nodes = dict(graph.nodes)
    for node_id in order:
        nodes[node_id] = _checked(graph, node_id, catalog)
    return Plan(replace(graph, nodes=nodes), order)


def _order(graph: Graph, outputs: Iterable[str]) -> tuple[str, ...]:
    order: dict[str, None] = {}
    for output in outputs:
        needed: dict[str, list[str]] = {}
        waiting = [output]
        while waiting:
            node_id = waiting.pop()
            if node_id in needed:
                continue
            needed[node_id] = [_source(graph, node_id, *link) for link in _links(graph, node_id)]
            waiting += needed[node_id]
        try:
            order |= dict.fromkeys(TopologicalSorter(needed).static_order())
        except CycleError as error:
            circle = " -> ".join(map(graph.label, error.args[1]))
            raise InvalidWorkflow(
                "links without a circle", circle, "Take one of these links away."
            ) from None
    return tuple(order)


def _links(graph: Graph, node_id: str) -> list[tuple[str, Link]]:
    return list(graph.nodes[node_id].links())


def _source(graph: Graph, node_id: str, name: str, link: Link) -> str:
    if link.node_id not in graph.nodes:
        raise InvalidWorkflow(
            f"a link to a node of the workflow for {_where(graph, node_id, name)}",
            f"node {link.node_id}, which is not there",
            "Connect it to another node.",
        )
    return link.node_id


def _where(graph: Graph, node_id: str, name: str) -> str:
    return f"input {name} of {graph.label(node_id)}"


def _checked(graph: Graph, node_id: str, catalog: Catalog) -> Node:
    node = graph.nodes[node_id]
    node_class = catalog.classes[node.class_type]
    declared = inputs_of(node_class)
    asks = _asks(node_class)
    for name in node.inputs:
        if name not in declared:
            raise InvalidWorkflow(
                f"the inputs of {graph.label(node_id)}: {', '.join(declared) or 'none'}",
                f"one called {name}",
                "Correct the name, or take it out.",
            )
    inputs: dict[str, Any] = {}
    received: dict[str, Any] = {}
    for name, item in declared.items():
        where = _where(graph, node_id, name)
        if name not in node.inputs:
            if item.required:
                raise _missing(item, where)
            continue
        value = node.inputs[name]
        if isinstance(value, Link):
            received[name] = _received(graph, value, catalog, where)
            if "input_types" not in asks and not fits(received[name], item.type):
                raise InvalidWorkflow(
                    f"{item.kind} for {where}",
                    f"{_kind(received[name])} from {graph.label(value.node_id)}",
                    f"Connect an output of type {item.kind}.",
                )
        else:
            value = cast(item, value, where)
            if name not in asks and "**" not in asks:
                check_range(item, value, where)
        inputs[name] = value
    node = replace(node, inputs=inputs)
    _ask(graph.label(node_id), node_id, node, node_class, asks, received)
    return node


def _missing(item: Input, where: str) -> InvalidWorkflow:
    if item.is_widget:
        return InvalidWorkflow(f"a value for {where}", "none", "Give it one.")
    return InvalidWorkflow(
        f"a {item.kind} for {where}", "nothing connected", f"Connect an output of type {item.kind}."
    )


def _received(graph: Graph, link: Link, catalog: Catalog, where: str) -> Any:
    types = outputs_of(catalog.classes[graph.nodes[link.node_id].class_type])
    if not 0 <= link.slot < len(types):
        raise InvalidWorkflow(
            f"an output of {graph.label(link.node_id)} for {where}: "
            + (f"0 to {len(types) - 1}" if types else "it has none"),
            f"output {link.slot}",
            "Connect it to another output.",
        )
    return types[link.slot]


def _kind(received: Any) -> str:
    return received if isinstance(received, str) else "COMBO"


def _asks(node_class: type[Any]) -> frozenset[str]:
    """The inputs that a node checks itself, "**" for all of them."""
    validate = getattr(node_class, "VALIDATE_INPUTS", None)
    if validate is None:
        return frozenset()
    signature = inspect.getfullargspec(validate)
    return frozenset([*signature.args, *(["**"] if signature.varkw else [])])


def _ask(
    label: str,
    node_id: str,
    node: Node,
    node_class: type[Any],
    asks: frozenset[str],
    received: Mapping[str, Any],
) -> None:
    """Let the node check its constants; inputs that are connected are None to it."""
    if not asks:
        return
    known: dict[str, list[Any]] = {
        name: [None if isinstance(value, Link) else value] for name, value in node.inputs.items()
    }
    hidden: dict[str, Any] = {"PROMPT": {}, "EXTRA_PNGINFO": None, "UNIQUE_ID": node_id}
    known |= {
        name: [hidden[kind]] for name, kind in hidden_of(node_class).items() if kind in hidden
    }
    given = {name: values for name, values in known.items() if name in asks or "**" in asks}
    if "input_types" in asks:
        given["input_types"] = [dict(received)]
    for answer in call(node_class, "VALIDATE_INPUTS", given):
        if isinstance(answer, BatchSDXLError):
            note(answer, f"In {label}")
            raise answer
        if answer is not True:
            reason = "" if answer is False else f" ({answer})"
            raise InvalidWorkflow(
                f"inputs that {label} accepts", f"some that it refuses{reason}", "Correct them."
            )
