"""A workflow saved today loads in every later version.

The editor's files store widgets by their place, API files inputs by name; both store ids, outputs
by their place, and values. So all that is in snapshots/nodes.json stays where it is. What is new
comes last and is optional, and `python tests/test_snapshot.py` freezes it too.
"""

import copy
import inspect
import json
from collections.abc import Callable, Iterator
from itertools import zip_longest
from math import inf
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from batch_sdxl.host import host

SNAPSHOT = Path(__file__).parent / "snapshots" / "nodes.json"
FREEZE = "`python tests/test_snapshot.py` writes the snapshot anew."

#: Options of an input that decide how many widgets it has, and which values it takes.
KEPT = ("forceInput", "socketless", "control_after_generate", "image_upload", "default")
LIMITS = ("min", "max")

Nodes = dict[str, dict[str, Any]]


def nodes() -> Nodes:
    """What the pack is now, without names of files."""
    with host.use(host.Host()):
        described = {name: describe(name, node) for name, node in NODE_CLASS_MAPPINGS.items()}
    told: Nodes = json.loads(json.dumps(described))  # tuples become lists
    return told


def describe(name: str, node: Any) -> dict[str, Any]:
    inputs = node.INPUT_TYPES()
    lists = getattr(node, "OUTPUT_IS_LIST", (False,) * len(node.RETURN_TYPES))
    return {
        "class": node.__name__,
        "display_name": NODE_DISPLAY_NAME_MAPPINGS[name],
        "function_takes_lists": getattr(node, "INPUT_IS_LIST", False),
        "output_node": getattr(node, "OUTPUT_NODE", False),
        "inputs": [
            {"name": name, "kind": kind} | describe_input(*given)
            for kind in ("required", "optional")
            for name, given in inputs.get(kind, {}).items()
        ],
        "outputs": [
            {"name": name, "type": kind, "list": is_list}
            for name, kind, is_list in zip(node.RETURN_NAMES, node.RETURN_TYPES, lists, strict=True)
        ],
        "hidden": inputs.get("hidden", {}),
    }


def describe_input(kind: Any, options: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "COMBO", "values": kind} if isinstance(kind, list) else {"type": kind}
    return values | {key: options[key] for key in (*KEPT, *LIMITS) if key in options}


def breaks(old: Nodes, new: Nodes) -> Iterator[str]:
    """What of `old` a saved workflow would miss in `new`."""
    for name, was in old.items():
        if name not in new:
            yield f"{name} is gone"
            continue
        now = new[name]
        for key in ("class", "display_name", "function_takes_lists", "output_node"):
            if was[key] != now[key]:
                yield f"{name}: {key} was {was[key]!r}, is {now[key]!r}"
        if not was["hidden"].items() <= now["hidden"].items():
            yield f"{name}: hidden inputs were {was['hidden']}, are {now['hidden']}"
        for key in ("inputs", "outputs"):
            for place, (one, other) in enumerate(zip_longest(was[key], now[key])):
                for problem in breaks_at_place(one, other):
                    yield f"{name}: number {place} of {key}, {problem}"


def breaks_at_place(was: dict[str, Any] | None, now: dict[str, Any] | None) -> Iterator[str]:
    if now is None:
        assert was
        yield f"{was['name']}, is gone"
    elif was is None:
        if now.get("kind") == "required":
            yield f"{now['name']}, is new, but saved workflows lack it: make it optional"
    else:
        gone = set(was.get("values", ())) - set(now.get("values", ()))
        if gone:
            yield f"{was['name']}, no longer takes {sorted(gone)}"
        least, most = was.get("min", -inf), was.get("max", inf)
        if least < now.get("min", -inf) or most > now.get("max", inf):
            yield f"{was['name']}, took from {least} to {most}, takes less"
        if {"kind", "type"} <= was.keys() & now.keys() and widens(was["type"], now["type"]):
            now = now | {"type": was["type"]}
        for key in sorted((was.keys() | now.keys()) - {"values", *LIMITS}):
            if was.get(key) != now.get(key) and (key, now.get(key)) != ("kind", "optional"):
                yield f"{was['name']}: {key} was {was.get(key)!r}, is {now.get(key)!r}"


def widens(was: str, now: str) -> bool:
    """Whether a socket takes what it took, and more: types are joined by commas."""
    return {*was.split(",")} < {*now.split(",")}


def test_saved_workflows_load() -> None:
    old, new = json.loads(SNAPSHOT.read_text("utf-8")), nodes()
    problems = "\n".join(breaks(old, new))
    assert not problems, f"Saved workflows would break:\n{problems}\nIf none can exist: {FREEZE}"
    assert old == new, f"Something is new, and not frozen yet. {FREEZE}"


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_what_an_api_file_leaves_out_is_what_the_widget_shows(name: str) -> None:
    node = NODE_CLASS_MAPPINGS[name]
    methods = [getattr(node, name, None) for name in ("plan", "begin")]
    taken = {
        name: parameter
        for method in filter(None, methods if any(methods) else [getattr(node, node.FUNCTION)])
        for name, parameter in inspect.signature(method).parameters.items()
    }
    for given, (kind, options) in node.INPUT_TYPES().get("optional", {}).items():
        shown = options.get("default", kind[0] if isinstance(kind, list) else None)
        left_out = taken[given].default
        assert left_out in (shown, (shown,)), given  # nodes that take lists take all as lists


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """What a change of Save Image Batch breaks."""
    old = nodes()
    new = copy.deepcopy(old)
    change(new["BatchSDXL_SaveImageBatch"])
    return list(breaks(old, new))


EXTRA = {"name": "extra", "kind": "optional", "type": "INT"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda node: node["inputs"].insert(5, EXTRA), "number 5 of inputs, quality: name was"),
        (lambda node: node["inputs"].append(EXTRA | {"kind": "required"}), "make it optional"),
        (lambda node: node["inputs"].pop(), "names, is gone"),
        (lambda node: node["inputs"][4]["values"].remove("png"), "no longer takes ['png']"),
        (lambda node: node["inputs"][5].update(max=90), "took from 1 to 100, takes less"),
        (lambda node: node["inputs"][5].update(forceInput=True), "forceInput was None"),
        (lambda node: node["outputs"][0].update(type="INT"), "type was 'STRING', is 'INT'"),
        (lambda node: node["outputs"][0].update(type="STRING,INT"), "is 'STRING,INT'"),
        (lambda node: node["inputs"][0].update(type="INT"), "type was 'IMAGE', is 'INT'"),
        (lambda node: node["hidden"].clear(), "hidden inputs were"),
        (lambda node: node.update(output_node=False), "output_node was True"),
    ],
)
def test_what_breaks_saved_workflows_is_told(
    change: Callable[[dict[str, Any]], object], part: str
) -> None:
    assert part in "\n".join(changed(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node["inputs"].append(EXTRA),
        lambda node: node["inputs"][4]["values"].insert(0, "bmp"),
        lambda node: node["inputs"][5].update(max=110),
        lambda node: node["inputs"][0].update(type="IMAGE,LATENT"),
        lambda node: node["inputs"][0].update(kind="optional"),
        lambda node: node["outputs"].append({"name": "count", "type": "INT", "list": False}),
    ],
)
def test_nodes_may_grow(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(change) == []


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(nodes(), indent=2, ensure_ascii=False) + "\n", "utf-8")
