"""The graph of `batch-sdxl generate`: what a person would wire by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...core.errors import InvalidRequest
from ..graph.catalog import Catalog
from ..graph.graph import Graph, Link, Node
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
    "vae": ("1", "vae"),
    "dtype": ("1", "dtype"),
    "compile": ("1", "compile"),
    "images": ("4", "folder"),
    "fit": ("4", "fit"),
    "strength": ("5", "strength"),
    "steps": ("5", "steps"),
    "cfg": ("5", "cfg"),
    "width": ("5", "width"),
    "height": ("5", "height"),
    "sampler_name": ("5", "sampler_name"),
    "scheduler": ("5", "scheduler"),
    "combine": ("5", "combine"),
    "rows_per_call": ("5", "rows_per_call"),
    "file_name": ("6", "file_name"),
    "format": ("6", "format"),
    "quality": ("6", "quality"),
    "page": ("6", "page"),
}


def graph(
    catalog: Catalog, options: Mapping[str, str], loras: Sequence[tuple[str, float]] = ()
) -> Graph:
    """The graph for some options of `TARGETS`; the rest is as in a fresh node of the editor.

    Args:
        catalog: the nodes.
        options: what a person typed, by option.
        loras: names and strengths.

    Raises:
        InvalidWorkflow: a value is none of its input's type.
        InvalidRequest: an option needs another one.
    """
    _check(options)
    left_out = {key for key, option in _OPTIONAL.items() if option not in options}
    used = {key: kind for key, kind in _NODES.items() if key not in left_out}
    nodes = {node_id: _node(catalog, node_id, used) for node_id in used}
    for name, strength in loras:
        key = str(len(_NODES) + 1 + len(nodes) - len(used))
        model = nodes["5"].inputs["model"]
        strengths = {"strength_model": strength, "strength_clip": strength}
        nodes[key] = catalog.fresh("BatchSDXL_ApplyLora", model=model, lora_name=name, **strengths)
        nodes["5"] = replace(nodes["5"], inputs={**nodes["5"].inputs, "model": Link(key, 0)})
    words = {target: f"--{option.replace('_', '-')}" for option, target in TARGETS.items()}
    made = Graph(nodes, words=words)
    for option, text in options.items():
        made = settings.put(made, catalog, *TARGETS[option], text)
    if "on_error" in options:  # of what is read, and of what is made
        made = settings.put(made, catalog, "5", "on_error", options["on_error"])
    if {"images", "width", "height"} <= options.keys():
        # Images that are not of that size would be refused.
        for name in ("width", "height"):
            made = settings.put(made, catalog, _IMAGES, name, options[name])
    return made


def unused(options: Mapping[str, str]) -> list[str]:
    """What changes nothing, a line each."""
    lines = []
    if "strength" in options and "images" not in options:
        lines.append("--strength is for input images: without --images, only rows with one use it.")
    with suppress(ValueError):
        if options.get("negative_prompt") and float(options.get("cfg", "7")) <= 1:
            lines.append("--negative-prompt changes nothing at a --cfg of up to 1.")
    return lines


def _check(options: Mapping[str, str]) -> None:
    if "fit" in options and "images" not in options:
        raise InvalidRequest("--images with --fit", "none", "Name the images, or leave out --fit.")
    if "images" in options and ("width" in options) != ("height" in options):
        raise InvalidRequest(
            "both --width and --height with --images, or neither",
            "one of them",
            "Give the other one too, or --fit bucket for the SDXL size nearest in shape.",
        )


def _node(catalog: Catalog, node_id: str, used: Mapping[str, str]) -> Node:
    inputs: dict[str, Any] = {
        name: value for (target, name), value in _CHOSEN.items() if target == node_id
    }
    for (target, name), (source, output) in _LINKS.items():
        if target == node_id and source in used:
            names = catalog.classes[used[source]].RETURN_NAMES
            inputs[name] = Link(source, names.index(output))
    return catalog.fresh(used[node_id], **inputs)
