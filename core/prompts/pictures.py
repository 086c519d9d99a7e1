"""PNG files -> rows: the prompts that pictures say they were made from.

Read are our own record, AUTOMATIC1111's `parameters` (which most tools write), and the graph of
ComfyUI where it has one sampler.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import InvalidPrompts
from ..images.files import natural
from .rows import FIELDS, Row, field_of
from .text_files import check_text

_NEGATIVE = re.compile(r"^Negative prompt: ?", re.MULTILINE)
_STEPS = re.compile(r"^Steps: \d.*", re.MULTILINE)
_SETTING = re.compile(r'\s*([\w .+-]+): ("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
_OTHER_NAMES = {
    "CFG Rescale phi": "guidance_rescale",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
}
_SIZE = re.compile(r"(\d+)x(\d+)")
_LINKS = ("positive", "conditioning", "conditioning_1", "text", "string", "value")


def image_rows(folder: Path) -> Iterator[Row]:
    """A row of each PNG of a folder, in natural order (1, 2, 10).

    Raises:
        InvalidPrompts: there is none, or one that does not say its prompt; the message names it.
    """
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".png"]
    if not files:
        raise InvalidPrompts(
            "a folder of PNG files that say their prompts", f"none in {folder.name}", "Add them."
        )
    for path in sorted(files, key=natural):
        yield image_row(path)


def image_row(path: Path) -> Row:
    """What one PNG says.

    Raises:
        InvalidPrompts: it cannot be read, or does not say its prompt.
    """
    try:
        with warnings.catch_warnings():
            # Of a picture's size: its pixels are not decoded here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
        values = _said(texts)
    # SyntaxError is Pillow's for broken PNG files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidPrompts(
            "a PNG file that can be read", f"{path.name} ({error})", "Take it out of the folder."
        ) from None
    if not values.get("prompt"):
        raise InvalidPrompts(
            "a PNG that says its prompt (batch_sdxl, parameters, or a graph with one sampler)",
            f"{path.name} with {', '.join(texts) or 'no text at all'}",
            "Take it out of the folder.",
        )
    for value in values.values():
        if isinstance(value, str):
            check_text(value, path.name)
    return Row(path.name, 0, values)


def _said(texts: Mapping[str, str]) -> dict[str, object]:
    """The fields of a picture's texts, of the first kind that has a prompt."""
    request = _object(texts.get("batch_sdxl")).get("request")
    if isinstance(request, dict) and request.get("prompt"):
        image = request.pop("image", None)
        if isinstance(image, dict):
            request["image"] = image.get("name")
        return {name: value for name, value in request.items() if name in FIELDS}
    if "parameters" in texts:
        return parameters_fields(texts["parameters"])
    return _graph_fields(_object(texts.get("prompt")))


def parameters_fields(text: str) -> dict[str, object]:
    """The fields of a text as AUTOMATIC1111's web UI writes it into pictures.

    Args:
        text: the prompt, `Negative prompt: ...`, and a line of `Steps: 20, Seed: 5, ...`. What
            extensions write behind that line is about how the prompt came to be.
    """
    values: dict[str, object] = {}
    if settings := _last(_STEPS, text):
        text = text[: settings.start()]
        for name, value in _SETTING.findall(settings[0]):
            size = _SIZE.fullmatch(value)
            if name == "Size" and size:
                values |= {"width": size[1], "height": size[2]}
            elif name == "Clip skip" and value.isdecimal():
                values["clip_skip"] = max(int(value) - 2, 0)  # counted from the last layer there
            elif name in _OTHER_NAMES:
                values[_OTHER_NAMES[name]] = value
            elif field_of(name) in FIELDS - {"prompt", "image", "clip_skip"}:
                values[field_of(name)] = value
    if negative := _last(_NEGATIVE, text):
        values["negative_prompt"] = text[negative.end() :].strip()
        text = text[: negative.start()]
    return {"prompt": text.strip()} | values


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(pattern.finditer(text), key=lambda match: match.start(), default=None)


def _graph_fields(graph: Mapping[str, Any]) -> dict[str, object]:
    """The fields of a ComfyUI graph that has one sampler; empty where it is not clear."""
    nodes = {key: node.get("inputs") for key, node in graph.items() if isinstance(node, dict)}
    inputs = {key: node for key, node in nodes.items() if isinstance(node, dict)}
    samplers = [node for node in inputs.values() if {"positive", "negative"} <= node.keys()]
    samplers = [node for node in samplers if {"seed", "noise_seed"} & node.keys()]
    if len(samplers) != 1:
        return {}
    (sampler,) = samplers
    values = {
        field_of(name): sampler[name]
        for name in ("seed", "noise_seed", "steps", "cfg")
        if isinstance(sampler.get(name), int | float)
    }
    for field, name in (("prompt", "positive"), ("negative_prompt", "negative")):
        values[field] = _linked_text(inputs, sampler[name])
    return values


def _linked_text(inputs: Mapping[str, Mapping[str, Any]], value: object) -> str | None:
    """The text that a link leads to."""
    for _ in range(len(inputs) + 1):
        if isinstance(value, str):
            return value
        if not (isinstance(value, list) and value and str(value[0]) in inputs):
            return None
        node = inputs[str(value[0])]
        value = next((node[name] for name in _LINKS if name in node), None)
    return None


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except RecursionError:
        raise ValueError("too many lists within each other") from None
    return value if isinstance(value, dict) else {}
