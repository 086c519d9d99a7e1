"""Everything that can be wrong with a graph, found before any node runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.errors import BatchSDXLError, InvalidWorkflow
from ...core.wording import meant
from ..notes import note, notes_of
from .catalog import Catalog
from .graph import Graph, Link, Node
from .inputs import Input, fits, hidden_of, inputs_of, outputs_of
from .mapping import call
from .order import few, models_last, order_of, outputs_in
from .values import cast, check_range

#: Problems that one message lists.
MOST_TOLD = 40

#: Advice that says no more than the message does.
_PLAIN = ("Correct that value.", "Give it one.", "Correct the name, or take it out.")


@dataclass(frozen=True)
class Plan:
    """A graph that can run.

    Attributes:
        graph: with every constant of its input's type.
        order: ids of the nodes that run, each after those it needs: first those that need no
            model, then one output's nodes before the next output's, so that results are written
            early.
        left_out: class names of nodes that only ComfyUI knows, by id: nothing that runs reads them.
    """

    graph: Graph
    order: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def check(graph: Graph, catalog: Catalog) -> Plan:
    """The plan of a graph; only nodes that an output needs are looked at.

    Raises:
        InvalidWorkflow: the graph cannot run; the message names all that is wrong.
        BatchSDXLError: one node, and nothing else, refuses its inputs.
    """
    outputs = outputs_in(graph, catalog)
    left_out = {
        node_id: node.class_type
        for node_id, node in graph.nodes.items()
        if node.class_type not in catalog.classes
    }
    if not outputs:
        catalog.require(graph, left_out)
        raise InvalidWorkflow(
            "a node that saves something, such as Save Image",
            "none that runs: " + (few(map(graph.label, graph.nodes)) or "an empty graph"),
            "Add one, or turn on the one that is muted or bypassed.",
        )
    problems: list[BatchSDXLError] = []
    order = models_last(graph, catalog, order_of(graph, outputs, problems))
    catalog.require(graph, order)
    nodes = dict(graph.nodes)
    for node_id in order:
        nodes[node_id] = _Check(graph, node_id, catalog, problems).node()
    if problems:
        raise _together(problems)
    return Plan(replace(graph, nodes=nodes), order, left_out)


def _together(problems: Sequence[BatchSDXLError]) -> BatchSDXLError:
    """One error that lists them all."""
    if len(problems) == 1:
        return problems[0]
    lines = []
    for problem in problems[:MOST_TOLD]:
        place = "".join(f"{where}: " for where in notes_of(problem))
        action = "" if problem.action in _PLAIN else f" {problem.action}"
        lines.append(f"\n  - {place}{problem.expected}; got {problem.got}.{action}")
    if len(problems) > MOST_TOLD:
        lines.append(f"\n  - and {len(problems) - MOST_TOLD:,} more")
    return InvalidWorkflow(
        "a workflow whose nodes have all they need",
        f"{len(problems):,} things that are wrong:{''.join(lines)}",
        "Correct them; nothing has run yet.",
    )


@dataclass(frozen=True)
class _Check:
    """One node, and where what is wrong with it goes."""

    graph: Graph
    node_id: str
    catalog: Catalog
    problems: list[BatchSDXLError]

    def node(self) -> Node:
        """The node with its constants of the right types; defaults where it has none."""
        node = self.graph.nodes[self.node_id]
        node_class = self.catalog.classes[node.class_type]
        declared = inputs_of(node_class)
        asks = _asks(node_class)
        sound, before = True, len(self.problems)
        inputs: dict[str, Any] = {}
        received: dict[str, Any] = {}
        self.problems.extend(
            self._unknown(name, declared) for name in node.inputs if name not in declared
        )
        for name, item in declared.items():
            where = self.graph.where(self.node_id, name)
            value = node.inputs.get(name)
            if isinstance(value, Link) and value.node_id not in self.graph.nodes:
                sound = False  # and told already
                continue
            try:
                if isinstance(value, Link):
                    received[name] = self._received(value, where)
                    if "input_types" not in asks:
                        self._check_type(item, received[name], value, where)
                    inputs[name] = value
                elif name in node.inputs:
                    inputs[name] = cast(item, value, where)
                    if name not in asks and "**" not in asks:
                        check_range(item, inputs[name], where)
                elif item.required:
                    inputs[name] = _default(item, where)
            except InvalidWorkflow as error:
                self.problems.append(error)
        node = replace(node, inputs=inputs)
        if sound and len(self.problems) == before:
            self._ask(node, node_class, asks, received)
        return node

    def _unknown(self, name: str, declared: Mapping[str, Input]) -> InvalidWorkflow:
        return InvalidWorkflow(
            f"the inputs of {self.graph.label(self.node_id)}: {', '.join(declared) or 'none'}",
            f"one called {name}",
            meant(name, declared) or "Correct the name, or take it out.",
        )

    def _received(self, link: Link, where: str) -> Any:
        types = outputs_of(self.catalog.classes[self.graph.nodes[link.node_id].class_type])
        if not 0 <= link.slot < len(types):
            raise InvalidWorkflow(
                f"an output of {self.graph.label(link.node_id)} for {where}: "
                + (f"0 to {len(types) - 1}" if types else "it has none"),
                f"output {link.slot}",
                "Connect it to another output.",
            )
        return types[link.slot]

    def _check_type(self, item: Input, received: Any, link: Link, where: str) -> None:
        if not fits(received, item.type):
            kind = received if isinstance(received, str) else "COMBO"
            raise InvalidWorkflow(
                f"{item.kind} for {where}",
                f"{kind} from {self.graph.label(link.node_id)}",
                f"Connect an output of type {item.kind}.",
            )

    def _ask(
        self,
        node: Node,
        node_class: type[Any],
        asks: frozenset[str],
        received: Mapping[str, Any],
    ) -> None:
        """Let the node check its constants; inputs that are connected are None to it."""
        if not asks:
            return
        known: dict[str, list[Any]] = {
            name: [None if isinstance(value, Link) else value]
            for name, value in node.inputs.items()
        }
        hidden: dict[str, Any] = {"PROMPT": {}, "EXTRA_PNGINFO": None, "UNIQUE_ID": self.node_id}
        known |= {
            name: [hidden[kind]] for name, kind in hidden_of(node_class).items() if kind in hidden
        }
        given = {name: values for name, values in known.items() if name in asks or "**" in asks}
        if "input_types" in asks:
            given["input_types"] = [dict(received)]
        label = self.graph.label(self.node_id)
        for answer in call(node_class, "VALIDATE_INPUTS", given):
            if isinstance(answer, BatchSDXLError):
                if not self.graph.words:
                    note(answer, f"In {label}")
                self.problems.append(answer)
            elif answer is not True:
                reason = "" if answer is False else f" ({answer})"
                self.problems.append(
                    InvalidWorkflow(
                        f"inputs that {label} accepts",
                        f"some that it refuses{reason}",
                        "Correct them.",
                    )
                )


def _default(item: Input, where: str) -> Any:
    """What the editor would write into a fresh node.

    Raises:
        InvalidWorkflow: nothing; the message says what the input takes.
    """
    value = item.default() if item.is_widget else None
    if value is not None:
        return value
    if item.is_widget:
        choices = f", one of {', '.join(map(str, item.choices))}," if item.choices else ""
        raise InvalidWorkflow(f"a value{choices} for {where}", "none", "Give it one.")
    an = "an" if item.kind[:1] in "AEIOU" else "a"
    raise InvalidWorkflow(
        f"{an} {item.kind} for {where}",
        "nothing connected",
        f"Connect an output of type {item.kind}.",
    )


def _asks(node_class: type[Any]) -> frozenset[str]:
    """The inputs that a node checks itself, "**" for all of them."""
    validate = getattr(node_class, "VALIDATE_INPUTS", None)
    if validate is None:
        return frozenset()
    signature = inspect.getfullargspec(validate)
    return frozenset([*signature.args, *(["**"] if signature.varkw else [])])
