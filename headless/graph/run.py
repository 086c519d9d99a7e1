"""Runs a graph whose nodes are ComfyUI's plain classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ...core.errors import InvalidWorkflow
from ..notes import note
from .catalog import Catalog
from .check import Plan
from .graph import Link
from .inputs import hidden_of, outputs_of
from .mapping import call, merge

#: An output node's `ui`, as ComfyUI calls what it shows: for each key, a list.
Ui = dict[str, list[Any]]


def run(plan: Plan, catalog: Catalog) -> dict[str, Ui]:
    """What the output nodes show, by node id. Nothing is kept from one run to the next."""
    return Run(plan, catalog).run()


class Run:
    """One run of a graph. A result is let go when the last node that reads it is done."""

    def __init__(self, plan: Plan, catalog: Catalog) -> None:
        """Prepare; nothing runs yet."""
        self._plan = plan
        self._catalog = catalog
        self._outputs: dict[str, list[list[Any]]] = {}
        self._readers = Counter(
            link.node_id for node_id in plan.order for _, link in plan.graph.nodes[node_id].links()
        )
        editor = plan.graph.editor
        self._hidden = {
            "PROMPT": plan.graph.api(),
            # A copy: nodes may write into it what they drew.
            "EXTRA_PNGINFO": None if editor is None else {"workflow": deepcopy(dict(editor))},
        }

    def run(self) -> dict[str, Ui]:
        """Run the nodes in order."""
        shown = {}
        for node_id in self._plan.order:
            try:
                ui = self._execute(node_id)
            except Exception as error:
                if not self._plan.graph.words:
                    note(error, f"In {self._plan.graph.label(node_id)}")
                raise
            if ui is not None:
                shown[node_id] = ui
        return shown

    def _execute(self, node_id: str) -> Ui | None:
        graph = self._plan.graph
        node_class = self._catalog.classes[graph.nodes[node_id].class_type]
        results, ui = _unpack(call(node_class(), node_class.FUNCTION, self._arguments(node_id)))
        for _, link in graph.nodes[node_id].links():
            self._readers[link.node_id] -= 1
            if not self._readers[link.node_id]:
                del self._outputs[link.node_id]
        if self._readers[node_id]:
            are_lists = getattr(node_class, "OUTPUT_IS_LIST", None)
            are_lists = are_lists or [False] * len(outputs_of(node_class))
            self._outputs[node_id] = merge(results, are_lists)
        return ui

    def _arguments(self, node_id: str) -> Mapping[str, list[Any]]:
        node = self._plan.graph.nodes[node_id]
        node_class = self._catalog.classes[node.class_type]
        arguments: dict[str, list[Any]] = {}
        for name, value in node.inputs.items():
            arguments[name] = self._read(value) if isinstance(value, Link) else [value]
            if not arguments[name] and not getattr(node_class, "INPUT_IS_LIST", False):
                raise InvalidWorkflow(
                    f"at least one value for input {name} of {self._plan.graph.label(node_id)}",
                    f"an empty list from {self._plan.graph.label(value.node_id)}",
                    "Make that node give something.",
                )
        hidden = self._hidden | {"UNIQUE_ID": node_id}
        for name, kind in hidden_of(node_class).items():
            if kind in hidden:
                arguments[name] = [hidden[kind]]
        return arguments

    def _read(self, link: Link) -> list[Any]:
        return self._outputs[link.node_id][link.slot]


def _unpack(returned: list[Any]) -> tuple[list[Any], Ui | None]:
    """The results of each call, and what they show together."""
    results, shown = [], []
    for one in returned:
        if isinstance(one, dict):
            results.append(one.get("result", ()))
            shown.append(one.get("ui", {}))
        else:
            results.append(one)
    if not shown:
        return results, None
    return results, {key: [item for ui in shown for item in ui[key]] for key in shown[0]}
