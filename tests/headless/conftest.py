"""Toy nodes in ComfyUI's plain class form, and short ways to write graphs of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.headless.graph.catalog import Catalog
from batch_sdxl.headless.graph.check import check
from batch_sdxl.headless.graph.run import Ui, run
from batch_sdxl.headless.graph.stand_ins import NODE_CLASS_MAPPINGS
from batch_sdxl.headless.graph.workflow import parse

Json = dict[str, Any]


class Number:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {"required": {"value": ("INT", {"default": 3, "min": 0, "max": 100})}}

    def run(self, value: int) -> tuple[int]:
        return (value,)


class Seeded:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {
            "required": {
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1}),
                "mode": (["slow", "fast"],),
                "share": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0}),
                "exact": ("BOOLEAN", {"default": False}),
            },
            "optional": {"note": ("STRING", {"default": "none"})},
        }

    def run(self, seed: int, mode: str, share: float, exact: bool, note: str = "") -> tuple[str]:
        return (f"{seed} {mode} {share} {exact} {note}",)


class Add:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {
            "required": {"a": ("INT", {"forceInput": True}), "b": ("INT", {"default": 10})},
            "optional": {"c": ("INT", {"forceInput": True})},
        }

    def run(self, a: int, b: int, **rest: int) -> tuple[int]:
        assert None not in rest.values()
        return (a + b + rest.get("c", 0),)


class Numbers:
    RETURN_TYPES = ("INT", "INT")
    FUNCTION = "run"
    OUTPUT_IS_LIST = (True, False)

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {"required": {"text": ("STRING", {"multiline": True})}}

    def run(self, text: str) -> tuple[list[int], int]:
        numbers = [int(word) for word in text.split()]
        return numbers, len(numbers)


class Total:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"
    INPUT_IS_LIST = True

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {
            "required": {"numbers": ("INT", {"forceInput": True}), "start": ("INT", {})},
            "hidden": {"me": "UNIQUE_ID"},
        }

    def run(self, numbers: list[int], start: list[int], me: list[str]) -> tuple[int]:
        assert len(start) == len(me) == 1
        return (sum(numbers, *start),)


class Show:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {
            "required": {"value": ("*",)},
            "hidden": {"prompt": "PROMPT", "info": "EXTRA_PNGINFO", "me": "UNIQUE_ID"},
        }

    def run(self, value: Any, prompt: Json, info: Json | None, me: str) -> Json:
        return {"ui": {"values": [value], "hidden": [(prompt, info, me)]}}


class Picky:
    RETURN_TYPES = ("STRING,INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {
            "required": {"even": ("INT", {"max": 10}), "word": ("STRING", {})},
            "hidden": {"me": "UNIQUE_ID"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, even: int | None, word: str | None) -> bool | str | Exception:
        if word == "ours":
            return InvalidRequest("a word", "ours", "Say another.")
        if even is None or even % 2 == 0:
            return word != "no"
        return f"{even} is odd"

    def run(self, even: int, word: str) -> tuple[str]:
        return (f"{word} {even}",)


class Failing:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> Json:
        return {"required": {"how": (["ours", "bug", "stop"],)}}

    def run(self, how: str) -> tuple[int]:
        if how == "ours":
            raise InvalidRequest("an image", "none", "Give one.")
        raise KeyboardInterrupt if how == "stop" else ZeroDivisionError


TOYS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Number, Seeded, Add, Numbers, Total, Show, Picky, Failing)
}


@pytest.fixture
def toys() -> dict[str, type[Any]]:
    return TOYS


@pytest.fixture
def catalog() -> Catalog:
    return Catalog({**TOYS, **NODE_CLASS_MAPPINGS}, {"Number": "A Number"})


@pytest.fixture
def api() -> Callable[..., Json]:
    """Write a graph: api(a=("Number", {"value": 1}), b=("Show", {"value": ["a", 0]}))."""

    def write(**nodes: tuple[str, Json]) -> Json:
        return {
            key: {"class_type": kind, "inputs": dict(inputs)}
            for key, (kind, inputs) in nodes.items()
        }

    return write


@pytest.fixture
def drawing() -> Callable[..., Json]:
    """Write a graph as the editor does, of nodes by `node` and links by (from, slot, to, input)."""
    return draw


@pytest.fixture
def node() -> Callable[..., Json]:
    """Write one node of a drawing."""
    return draw_node


def draw_node(
    key: int,
    kind: str,
    widgets: list[Any] | Json | None = None,
    inputs: str = "",
    outputs: str = "",
    **rest: Any,
) -> Json:
    """Inputs as "a:INT b:INT:w"; w is a widget that was made a socket. Outputs as "INT MASK"."""
    entries = []
    for entry in inputs.split():
        name, slot_type, *widget = entry.split(":")
        extra = {"widget": {"name": name}} if widget else {}
        entries.append({"name": name, "type": slot_type, "link": None, **extra})
    slots = [{"name": slot, "type": slot, "links": []} for slot in outputs.split()]
    return {
        "id": key,
        "type": kind,
        "mode": 0,
        "inputs": entries,
        "outputs": slots,
        "widgets_values": [] if widgets is None else widgets,
        **rest,
    }


def draw(nodes: list[Json], links: list[tuple[int, int, int, str]], **rest: Any) -> Json:
    by_id = {entry["id"]: entry for entry in nodes}
    rows = []
    for at, (origin, slot, target, name) in enumerate(links, 1):
        names = [entry["name"] for entry in by_id[target]["inputs"]]
        by_id[target]["inputs"][names.index(name)]["link"] = at
        rows.append([at, origin, slot, target, names.index(name), "*"])
    return {"nodes": nodes, "links": rows, "version": 0.4, **rest}


@pytest.fixture
def shown(catalog: Catalog) -> Callable[[Json], dict[str, Ui]]:
    """Run a graph from its JSON."""
    return lambda content: run(check(parse(content, catalog), catalog), catalog)


@pytest.fixture
def values(shown: Callable[[Json], dict[str, Ui]]) -> Callable[[Json], list[Any]]:
    """Run a graph with one Show node, and tell what it was given."""

    def tell(content: Json) -> list[Any]:
        (ui,) = shown(content).values()
        return ui["values"]

    return tell


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    """Write JSON to a file."""

    def write(content: Any) -> Path:
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write
