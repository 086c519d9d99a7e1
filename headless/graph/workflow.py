"""Workflow files: what ComfyUI's editor saves, and what its server takes ("API format")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import BatchSDXLError, InvalidWorkflow
from ...core.wording import meant
from . import editor
from .catalog import Catalog
from .graph import Graph, Link, Node
from .inputs import inputs_of
from .schema import two_of_one_id
from .trace import MOST_NODES

#: Bytes of a workflow file; the largest of thousands in public has 5 MB.
MOST_BYTES = 64 * 2**20

#: How the pictures start that can hold a workflow: PNG, JPEG, WebP (and AVIF at its fifth byte).
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")

#: Half of a sign, which no text can be written with.
_HALF = re.compile("[\ud800-\udfff]")

#: Inputs whose text is read line by line: there, a list stands for its lines.
_LINES = {
    ("BatchSDXL_PromptList", "text"),
    ("BatchSDXL_SeedList", "seeds"),
    ("BatchSDXL_LoadImageBatch", "folder"),
}

_HOW_TO_SAVE = "Save the workflow in ComfyUI: Workflow > Save, or Workflow > Export (API)."


def read(path: Path, catalog: Catalog) -> Graph:
    """The graph in a file of either format, or in a picture that ComfyUI has saved.

    Raises:
        InvalidWorkflow: the file cannot be read, or is no workflow.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise InvalidWorkflow(
            "a workflow file",
            f"{path} ({error.strerror})",
            _near_file(path) or "Check the name of the file.",
        ) from error
    if size > MOST_BYTES:
        raise InvalidWorkflow(
            "a workflow file of at most 64 MB", f"{path} with {size:,} bytes", _HOW_TO_SAVE
        )
    if content.startswith(_PICTURES) or content[4:8] == b"ftyp":
        return _in_picture(path, catalog)
    try:
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return parse(_loads(content.decode(encoding)), catalog)
    except ValueError as error:
        if isinstance(error, BatchSDXLError):
            raise
        raise InvalidWorkflow("a workflow in JSON", f"{path} ({error})", _HOW_TO_SAVE) from error


def parse(content: Any, catalog: Catalog) -> Graph:
    """The graph in the parsed JSON of either format.

    Raises:
        InvalidWorkflow: it is no workflow.
    """
    try:
        return _parse(content, catalog)
    except RecursionError:
        raise _too_deep() from None


def _parse(content: Any, catalog: Catalog) -> Graph:
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        return editor.parse(content, catalog)
    if isinstance(content, dict) and isinstance(content.get("prompt"), dict):
        # What is posted to ComfyUI's server, with the drawing beside it.
        posted = _parse(content["prompt"], catalog)
        extra = content.get("extra_data")
        info = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
        return _drawn(posted, info.get("workflow") if isinstance(info, dict) else None)
    if isinstance(content, dict) and content and all(map(_is_api_node, content.values())):
        if len(content) > MOST_NODES:
            raise InvalidWorkflow(
                f"a workflow of at most {MOST_NODES:,} nodes",
                f"{len(content):,}",
                "Run a part of it.",
            )
        return Graph({node_id: _api_node(node, catalog) for node_id, node in content.items()})
    raise InvalidWorkflow(
        'a workflow: {"nodes": [...]} of the editor, or {"1": {"class_type": ...}} (API format)',
        _describe(content),
        _HOW_TO_SAVE,
    )


def _loads(text: str) -> Any:
    """Parsed JSON in which no node or input is lost to another of its name."""
    try:
        found = json.loads(text, object_pairs_hook=_object)
        said = json.dumps(found, ensure_ascii=False) if "\\u" in text else ""
        if half := _HALF.search(said):
            raise InvalidWorkflow(
                "a workflow of whole characters", f"half of one, {half[0]!r}", "Take it out."
            )
    except RecursionError:
        raise _too_deep() from None
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, value in pairs if _is_api_node(value)]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise two_of_one_id(twice)
        names = [name for name, _ in pairs]
        twice = [name for name in found if names.count(name) > 1]
        raise InvalidWorkflow(
            "each name once in an object of the workflow",
            ", ".join(f"{name!r} twice" for name in twice[:5]),
            "Keep the one that is meant.",
        )
    return found


def _in_picture(path: Path, catalog: Catalog) -> Graph:
    """The graph that a picture was made by, with its drawing."""
    from ...core.images.files import open_image
    from ...core.saving.texts import texts_in

    texts: dict[str, str] = {}
    try:
        with open_image(path) as image:
            image.load()  # a PNG may have texts behind its pixels
            texts = texts_in(image)
    except BatchSDXLError:
        raise
    except Exception as error:
        raise InvalidWorkflow(
            "a picture whose texts can be read", f"{path} ({error})", "Save it again in ComfyUI."
        ) from error
    found: dict[str, Any] = {}
    for name in ("prompt", "workflow"):
        try:
            found[name] = _loads(texts[name])
        except KeyError:
            continue
        except ValueError as error:
            if isinstance(error, BatchSDXLError):
                raise
            raise InvalidWorkflow(
                "a picture with a workflow in JSON",
                f"{path}, whose {name} is broken ({error})",
                "Take another picture.",
            ) from error
    if not found:
        raise InvalidWorkflow(
            "a workflow file, or a picture with the workflow that made it",
            f"{path}, a picture without one",
            "Take the file that ComfyUI saved: other programs, and chats, take the workflow out.",
        )
    if "prompt" not in found:
        return parse(found["workflow"], catalog)
    return _drawn(parse(found["prompt"], catalog), found.get("workflow"))


def _drawn(graph: Graph, drawing: Any) -> Graph:
    """The graph with what the editor saved of it."""
    return Graph(graph.nodes, drawing) if isinstance(drawing, dict) else graph


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
    node_class = catalog.declared(kind)
    declared = {} if node_class is None else inputs_of(node_class)
    inputs = {
        name: _api_value(kind, name, value)
        for name, value in node.get("inputs", {}).items()
        if name in declared or name not in editor.EXTRAS
    }
    return Node(kind, str(title or catalog.title(kind)), inputs)


def _api_value(kind: str, name: str, value: Any) -> Any:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    elif isinstance(value, list) and len(value) == 2 and _is_link(*value):
        return Link(value[0], value[1])
    return _lines(name, value) if isinstance(value, list) and (kind, name) in _LINES else value


def _is_link(origin: Any, slot: Any) -> bool:
    """As ComfyUI tells links from lists: an id is a text, so `[5, 9]` is none."""
    return isinstance(origin, str) and isinstance(slot, int) and not isinstance(slot, bool)


def _lines(name: str, values: list[Any]) -> str:
    """The text of a list, one value a line."""
    for value in values:
        fits = isinstance(value, str | int) and not isinstance(value, bool)
        text = str(value).strip()
        if not fits or not text or len(text.splitlines()) > 1 or text.startswith(("#", "---")):
            raise InvalidWorkflow(
                f"a text for input {name}, or a list of texts of one line each",
                json.dumps(value, ensure_ascii=False)[:200],
                "Write one text, its entries in lines; ComfyUI takes no list there.",
            )
    return "\n".join(map(str, values))


def _near_file(path: Path) -> str:
    if path.exists() or not path.parent.is_dir():
        return ""
    names = (one.name for one in path.parent.iterdir() if one.suffix in (".json", ".png", ".webp"))
    return meant(path.name, names)


def _too_deep() -> InvalidWorkflow:
    return InvalidWorkflow(
        "a workflow in JSON", "one nested too deeply to be read", "Take another file."
    )


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(key[:40] for key in list(content)[:5])
        return f"an object with the keys {keys}" if keys else "an empty object"
    return f"a JSON {type(content).__name__}"
