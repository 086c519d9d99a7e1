"""The graph of `batch-sdxl generate`: what a person would wire by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graph.catalog import Catalog
from ..graph.graph import Graph, Link, Node
from ..graph.inputs import inputs_of
from . import settings

_NODES = {
    "1": "BatchSDXL_LoadSDXL",
    "2": "BatchSDXL_PromptList",
    "3": "BatchSDXL_SeedList",
    "4": "BatchSDXL_LoadImageBatch",
    "5": "BatchSDXL_BatchGenerate",
    "6": "BatchSDXL_SaveImageBatch",
}
#: Nodes that are there if their option is given.
_OPTIONAL = {"3": "seeds", "4": "images"}
_IMAGES = "4"

#: (node, input) -> (node, output).
_LINKS = {
    ("5", "model"): ("1", "model"),
    ("5", "prompts"): ("2", "prompts"),
    ("5", "seeds"): ("3", "seeds"),
    ("5", "images"): ("4", "images"),
    ("5", "names"): ("4", "names"),
    ("6", "images"): ("5", "images"),
    ("6", "rows"): ("5", "rows"),
}

#: Inputs that are not as in a fresh node: without a negative prompt, images are diffusers'.
_CHOSEN = {("5", "empty_negative"): "auto"}

#: Option of the command -> the input that it sets.
TARGETS = {
    "prompts": ("2", "text"),
    "prompt_file": ("2", "file"),
    "on_error": ("2", "on_error"),
    "seeds": ("3", "seeds"),
    "negative_prompt": ("2", "negative_prompt"),
    "model": ("1", "model_name"),
    "images": ("4", "folder"),
    "strength": ("5", "strength"),
    "steps": ("5", "steps"),
    "cfg": ("5", "cfg"),
    "width": ("5", "width"),
    "height": ("5", "height"),
    "sampler_name": ("5", "sampler_name"),
    "scheduler": ("5", "scheduler"),
    "combine": ("5", "combine"),
}


def graph(catalog: Catalog, options: Mapping[str, str]) -> Graph:
    """The graph for some options of `TARGETS`; the rest is as in a fresh node of the editor.

    Raises:
        InvalidWorkflow: a value is none of its input's type.
    """
    left_out = {key for key, option in _OPTIONAL.items() if option not in options}
    used = {key: kind for key, kind in _NODES.items() if key not in left_out}
    nodes = {node_id: _node(catalog, node_id, used) for node_id in used}
    made = Graph(nodes)
    for option, text in options.items():
        made = settings.put(made, catalog, *TARGETS[option], text)
    if {"images", "width", "height"} <= options.keys():
        # Images that are not of that size would be refused.
        for name in ("width", "height"):
            made = settings.put(made, catalog, _IMAGES, name, options[name])
    return made


def _node(catalog: Catalog, node_id: str, used: Mapping[str, str]) -> Node:
    kind = used[node_id]
    inputs: dict[str, Any] = {
        name: item.default()
        for name, item in inputs_of(catalog.classes[kind]).items()
        if item.is_widget
    }
    inputs |= {name: value for (target, name), value in _CHOSEN.items() if target == node_id}
    for (target, name), (source, output) in _LINKS.items():
        if target == node_id and source in used:
            names = catalog.classes[used[source]].RETURN_NAMES
            inputs[name] = Link(source, names.index(output))
    return Node(kind, catalog.title(kind), inputs)
