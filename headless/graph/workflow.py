"""Workflow files: what ComfyUI's editor saves, and what its server takes ("API format")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import InvalidWorkflow
from . import editor
from .catalog import Catalog
from .graph import Graph, Link, Node
from .inputs import inputs_of


def read(path: Path, catalog: Catalog) -> Graph:
    """The graph in a file of either format.

    Raises:
        InvalidWorkflow: the file cannot be read, is no workflow, or needs ComfyUI.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidWorkflow(
            "a workflow file", f"{path} ({error.strerror})", "Check the name of the file."
        ) from error
    except ValueError as error:
        raise InvalidWorkflow(
            "a workflow in JSON",
            f"{path} ({error})",
            "Save the workflow again in ComfyUI: Workflow > Save, or Workflow > Export (API).",
        ) from error
    return parse(content, catalog)


def parse(content: Any, catalog: Catalog) -> Graph:
    """The graph in the parsed JSON of either format.

    Raises:
        InvalidWorkflow: it is no workflow, or needs ComfyUI.
    """
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        return editor.parse(content, catalog)
    if isinstance(content, dict) and content and all(map(_is_api_node, content.values())):
        catalog.require({node_id: node["class_type"] for node_id, node in content.items()})
        return Graph({node_id: _api_node(node, catalog) for node_id, node in content.items()})
    raise InvalidWorkflow(
        'a workflow: {"nodes": [...]} of the editor, or {"1": {"class_type": ...}} (API format)',
        _describe(content),
        "Save the workflow in ComfyUI: Workflow > Save, or Workflow > Export (API).",
    )


def _is_api_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs", {}), dict)
    )


def _api_node(node: Mapping[str, Any], catalog: Catalog) -> Node:
    kind = node["class_type"]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    declared = inputs_of(catalog.classes[kind])
    inputs = {
        name: _api_value(name, value)
        for name, value in node.get("inputs", {}).items()
        if name in declared or name not in editor.EXTRAS
    }
    return Node(kind, str(title or catalog.title(kind)), inputs)


def _api_value(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "__value__" in value:
        return value["__value__"]
    if not isinstance(value, list):
        return value
    if len(value) == 2 and isinstance(value[1], int):
        return Link(str(value[0]), value[1])
    raise InvalidWorkflow(
        f'a value or a link ["node id", output number] for input {name}',
        json.dumps(value),
        'Write a list that is a value as {"__value__": [...]}.',
    )


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(list(map(str, content))[:5])
        return f"an object with the keys {keys}" if keys else "an empty object"
    return f"a JSON {type(content).__name__}"
