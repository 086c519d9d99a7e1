"""Runs a graph whose nodes are ComfyUI's plain classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ...core.errors import InvalidWorkflow
from ...core.request.record import Record
from ...host.types import Gives, Outlook, Takes
from ..notes import note, notes_of
from .catalog import Catalog
from .check import Plan
from .flow import Flow, step
from .graph import Link
from .inputs import hidden_of, outputs_of
from .mapping import call, merge
from .stream import Streams, Taker

#: An output node's `ui`, as ComfyUI calls what it shows: for each key, a list.
Ui = dict[str, list[Any]]


class StopAtOnce(KeyboardInterrupt):
    """The person wants the run to end now, and nothing to be put in order before."""


class Failure(NamedTuple):
    """An image that could not be made: of which node, from what, and why not."""

    node_id: str
    row: Record
    error: Exception


def run(plan: Plan, catalog: Catalog) -> dict[str, Ui]:
    """What the output nodes show, by node id. Nothing is kept from one run to the next."""
    return Run(plan, catalog).run()


class Run:
    """One run of a graph. A result is let go when the last node that reads it is done.

    Attributes:
        shown: what output nodes have shown by now, by node id.
        at: id of the node that runs, or ran last.
        failures: images that could not be made.
    """

    def __init__(self, plan: Plan, catalog: Catalog) -> None:
        """Prepare; nothing runs yet."""
        self.shown: dict[str, Ui] = {}
        self.failures: list[Failure] = []
        self.at = ""
        self._plan = plan
        self._catalog = catalog
        self._streams = Streams(plan, catalog)
        self._outputs: dict[str, list[list[Any]]] = {}
        self._done: set[str] = set()
        self._taking: list[Takes] = []
        self._planned: dict[str, Outlook] = {}
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
        """Run the nodes in order; those that take what another gives, while it gives."""
        for node_id in self._plan.order:
            if node_id not in self._done:
                if hasattr(self._class(node_id), "LOADS"):
                    self._look_ahead()
                self._execute(node_id)
        return self.shown

    def _look_ahead(self) -> None:
        """Before a model is loaded, have what will be made of it planned, and refused."""
        for node_id in self._plan.order:
            needs = getattr(self._class(node_id), "NEEDS", None)
            if needs and self._waits_for(node_id) == {"model"}:
                with self._telling(node_id):
                    call(self._class(node_id)(), needs, self._arguments(node_id, ["model"]))
        for giver in self._plan.order:
            if giver in self._planned or not hasattr(self._class(giver), "PLANS"):
                continue
            if self._waits_for(giver) != {"model"}:
                continue
            loader = self._loader(giver)
            if loader is None or self._waits_for(loader):
                continue
            with self._telling(giver):
                outlook: Outlook = self._own(giver, "PLANS")(**self._arguments(giver, ["model"]))
            self._planned[giver] = outlook
            named = {name: values[-1] for name, values in self._arguments(loader).items()}
            size = self._own(loader, "LOADS")(**named)
            for taker in self._streams.takers(giver):
                if self._waits_for(taker.node_id) <= {"images", "rows"}:
                    with self._telling(taker.node_id):
                        arguments = self._arguments(taker.node_id, ["images", "rows"])
                        self._own(taker.node_id, "EXPECTS")(outlook.requests, size, **arguments)

    def _waits_for(self, node_id: str) -> set[str]:
        """Inputs whose values are not there yet."""
        links = self._plan.graph.nodes[node_id].links()
        return {name for name, link in links if link.node_id not in self._done}

    def _loader(self, node_id: str) -> str | None:
        """The node that loads the model that another one uses; None for no node of ours."""
        while not hasattr(self._class(node_id), "LOADS"):
            link = self._plan.graph.nodes[node_id].inputs.get("model")
            if not isinstance(link, Link):
                return None
            node_id = link.node_id
        return node_id

    def _outlook(self, node_id: str) -> dict[str, Any]:
        """What was planned ahead for a node, as an argument."""
        return {"planned": self._planned.pop(node_id)} if node_id in self._planned else {}

    def _own(self, node_id: str, name: str) -> Any:
        """The method of a fresh node that a name of its class stands for."""
        node_class = self._class(node_id)
        return getattr(node_class(), getattr(node_class, name))

    def _execute(self, node_id: str) -> None:
        takers = self._streams.takers(node_id)
        for taker in takers:
            for other in self._streams.before(taker, node_id):
                if other not in self._done:
                    self._execute(other)
        self.at = node_id
        with self._telling(node_id):
            node_class = self._class(node_id)
            if hasattr(node_class, "GIVES"):
                self._stream(node_id, takers)
            else:
                arguments = self._arguments(node_id)
                self._finish(node_id, call(node_class(), node_class.FUNCTION, arguments))

    def _stream(self, giver: str, takers: Sequence[Taker]) -> None:
        """Run a node and those that take its images, each image to its end before the next."""
        arguments = self._arguments(giver)
        given: Gives = self._own(giver, "GIVES")(**arguments, **self._outlook(giver))
        flows = [self._flow(taker, given) for taker in takers]
        finished = [flow.finished() for flow in flows]

        def take(index: int, image: NDArray[Any]) -> None:
            for flow in flows:
                with self._telling(flow.node_id):
                    flow.take(index, image, given.rows[index])

        # What lies on the way of takers alone need not run for all images once more.
        passed = {taker.node_id for taker in takers}
        for taker in takers:
            for node_id in reversed(taker.between):
                if self._streams.readers(node_id) <= passed:
                    passed.add(node_id)
        with _left_in_order(flows):
            if read := self._streams.read(giver, passed):
                unread = {*self._class(giver).RETURN_NAMES} - read
                self._finish(giver, [given.collect(take, unread)])
            else:
                for index, image in given.images(set.intersection(*finished)):
                    take(index, image)
                self._finish(giver, [()])
        self.failures += [
            Failure(giver, given.rows[index], error) for index, error in given.failures.items()
        ]
        for flow in flows:
            with self._telling(flow.node_id):
                self._finish(flow.node_id, [flow.taking.end()])
        for node_id in passed - self._done:
            self._release(node_id)

    def _flow(self, taker: Taker, given: Gives) -> Flow:
        arguments = dict(self._arguments(taker.node_id, but=("images", "rows")))
        with self._telling(taker.node_id):
            taking: Takes = self._own(taker.node_id, "TAKES")(rows=[list(given.rows)], **arguments)
        self._taking.append(taking)
        steps = []
        for node_id in taker.between:
            name = self._streams.image_input(node_id)
            own = self._class(node_id)
            fixed = {n: v[-1] for n, v in self._arguments(node_id, but=(name,)).items()}
            steps.append(step(getattr(own(), own.FUNCTION), name, fixed))
        return Flow(taker.node_id, taking, steps)

    def written(self) -> list[Path]:
        """The files that are written by now."""
        return [file for taking in self._taking for file in taking.files]

    @contextmanager
    def _telling(self, node_id: str) -> Iterator[None]:
        """Say of an error from the block which node it comes from."""
        try:
            yield
        except Exception as error:
            if not self._plan.graph.words and not notes_of(error):
                note(error, f"In {self._plan.graph.label(node_id)}")
            raise

    def _finish(self, node_id: str, returned: list[Any]) -> None:
        """Keep what a node returned for its readers, and what it shows."""
        node_class = self._class(node_id)
        results, ui = _unpack(returned)
        self._release(node_id)
        if self._readers[node_id] and any(results):
            are_lists = getattr(node_class, "OUTPUT_IS_LIST", None)
            are_lists = are_lists or [False] * len(outputs_of(node_class))
            self._outputs[node_id] = merge(results, are_lists)
        if ui is not None:
            self.shown[node_id] = ui

    def _release(self, node_id: str) -> None:
        """Let go of what a node has read, where it was the last reader."""
        self._done.add(node_id)
        for _, link in self._plan.graph.nodes[node_id].links():
            self._readers[link.node_id] -= 1
            if not self._readers[link.node_id]:
                self._outputs.pop(link.node_id, None)

    def _class(self, node_id: str) -> type[Any]:
        return self._catalog.classes[self._plan.graph.nodes[node_id].class_type]

    def _arguments(self, node_id: str, but: Collection[str] = ()) -> Mapping[str, list[Any]]:
        node = self._plan.graph.nodes[node_id]
        node_class = self._catalog.classes[node.class_type]
        arguments: dict[str, list[Any]] = {}
        for name, value in node.inputs.items():
            if name in but:
                continue
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


@contextmanager
def _left_in_order(flows: Sequence[Flow]) -> Iterator[None]:
    """Have takers leave what is there in order if the block ends early."""
    try:
        yield
    except StopAtOnce:
        raise
    except BaseException:
        for flow in flows:
            flow.taking.stop()
        raise


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
