"""The editor's format (version 0.4): a drawing, of which the graph that runs is a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import InvalidWorkflow
from .catalog import Catalog
from .graph import Graph, Link, Node
from .inputs import Input, inputs_of
from .schema import check_shape
from .trace import Constant, Level, RawNode, hosts_win

#: Values that belong to the editor's own buttons, not to the node.
EXTRAS = frozenset({"control_after_generate", "upload", "choose file to upload"})
_SEED_CONTROL = ("fixed", "increment", "decrement", "randomize")

Places = dict[tuple[str, str], tuple[str | int, ...]]


def parse(content: Mapping[str, Any], catalog: Catalog) -> Graph:
    """The graph of the editor's JSON.

    Raises:
        InvalidWorkflow: it contradicts itself.
    """
    check_shape(content)
    definitions = (content.get("definitions") or {}).get("subgraphs") or []
    subgraphs = {str(definition.get("id")): definition for definition in definitions}
    main = Level(content, subgraphs, hosts_win=hosts_win(content))
    at = {str(raw["id"]): index for index, raw in enumerate(content["nodes"])}
    nodes: dict[str, Node] = {}
    places: Places = {}
    for level, raw in main.running():
        node_id = level.api_id(raw)
        node_class = catalog.declared(raw["type"])
        title = str(raw.get("title") or catalog.title(raw["type"]))
        constants, keys = ({}, {}) if node_class is None else _widget_values(level, raw, node_class)
        sources = {
            entry["name"]: level.source(raw, slot)
            for slot, entry in enumerate(raw.get("inputs") or [])
        }
        linked = {name: source for name, source in sources.items() if source is not None}
        nodes[node_id] = Node(raw["type"], title, constants | _values(linked))
        if level is main:
            for name, key in keys.items():
                if name not in linked:
                    places[node_id, name] = ("nodes", at[node_id], "widgets_values", key)
    return Graph(nodes, content, places)


def _values(sources: Mapping[str, Link | Constant]) -> dict[str, Any]:
    return {
        name: source.value if isinstance(source, Constant) else source
        for name, source in sources.items()
    }


def _widget_values(
    level: Level, raw: RawNode, node_class: type[Any]
) -> tuple[dict[str, Any], dict[str, str | int]]:
    """The constants of a node, and under which key of `widgets_values` each is saved."""
    inputs = inputs_of(node_class)
    saved: Any = raw.get("widgets_values") or []
    widgets = [item for item in inputs.values() if item.is_widget]
    keys: dict[str, str | int]
    if isinstance(saved, dict):
        keys = {name: name for name in saved if name not in EXTRAS}
        unknown = [name for name in keys if name not in inputs]
    else:
        keys, unknown = _positions(widgets, saved)
    if unknown:
        raise InvalidWorkflow(
            f"the widgets of node {level.api_id(raw)} ({raw['type']}): "
            + (", ".join(item.name for item in widgets) or "none"),
            f"values of others as well: {', '.join(map(str, unknown))}",
            "The node was another version when the workflow was saved: "
            "open it in ComfyUI, check its widgets and save it again.",
        )
    values = {item.name: item.default() for item in widgets if item.default() is not None}
    values |= {name: saved[key] for name, key in keys.items()}
    values |= {name: v for name, v in level.promoted_to(raw).items() if name in inputs}
    return values, keys


def _positions(widgets: list[Input], saved: list[Any]) -> tuple[dict[str, str | int], list[Any]]:
    """The index of each widget's value, and values that belong to none."""
    keys: dict[str, str | int] = {}
    at = 0
    for item in widgets:
        if at == len(saved):
            break  # the widget is newer than the file
        keys[item.name] = at
        at += 1
        if item.has_seed_control and saved[at : at + 1] and saved[at] in _SEED_CONTROL:
            at += 1
    uploads = any(item.options.get("image_upload") for item in widgets)
    allowed = (None, "", "image") if uploads else (None, "")
    return keys, [value for value in saved[at:] if value not in allowed]
