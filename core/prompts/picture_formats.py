"""The texts of a picture -> the fields of what it was made from, of each program that is known.

Read are our own record, and what AUTOMATIC1111's web UI (Forge, SD.Next and most others) and
ComfyUI, SwarmUI, Fooocus, InvokeAI and NovelAI write. JSON that is none of these is never a prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .comfy_graph import NotSaid, graph_fields
from .rows import FIELDS, field_of

_NEGATIVE = re.compile(r"^Negative prompt: ?", re.MULTILINE)
_STEPS = re.compile(r"^Steps: \d.*", re.MULTILINE)
_SETTING = re.compile(r'\s*([\w .+-]+): ("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
_OTHER_NAMES = {
    "CFG Rescale phi": "guidance_rescale",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
}
_SECOND_PASS = ("Hires prompt", "Hires negative prompt", "ADetailer prompt")
_SIZE = re.compile(r"\(?(\d+) ?[x,] ?(\d+)\)?")
#: InvokeAI 1: the prompt in quotes, and switches behind it.
_DREAM = re.compile(r'\s*"(.*)"((?:\s+-.*)?)', re.DOTALL)
_SWITCH = re.compile(r"\s-([sSWHC]) ?(\d[\d.]*)(?=\s|$)")
_NOVEL_SIGNS = re.compile(r"[{}\[\]|]|::")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")

# A program's key -> field.
_COMMON = {"seed": "seed", "steps": "num_inference_steps", "width": "width", "height": "height"}
_SWARM = {"prompt": "prompt", "negativeprompt": "negative_prompt", "cfgscale": "guidance_scale"}
_FOOOCUS = {name: name for name in ("prompt", "negative_prompt", "guidance_scale")}
_INVOKE = {
    "positive_prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "cfg_scale": "guidance_scale",
    "cfg_rescale_multiplier": "guidance_rescale",
}
_SWITCHES = {"S": "seed", "s": "num_inference_steps", "W": "width", "H": "height"}
_SWITCHES["C"] = "guidance_scale"
_NOVEL = {"prompt": "prompt", "uc": "negative_prompt", "scale": "guidance_scale"}

#: Names of the texts that are read.
KNOWN = frozenset(
    ("batch_sdxl", "invokeai_metadata", "sd-metadata", "Dream", "Comment", "parameters", "prompt")
)


def picture_fields(
    texts: Mapping[str, str], stem: str, tell: Callable[[str], None]
) -> dict[str, object]:
    """The fields of a picture's texts.

    Args:
        texts: by the names that the file gives them.
        stem: the picture's name without its ending.
        tell: takes what is left out.

    Raises:
        NotSaid: they are of no program that is known, or not clear.
        ValueError: a text is not the JSON that it should be.
    """
    request = _object(texts.get("batch_sdxl")).get("request")
    if isinstance(request, dict) and request.get("prompt"):
        image = request.pop("image", None)
        if isinstance(image, dict):
            request["image"] = image.get("name")
        return {name: value for name, value in request.items() if name in FIELDS}
    if "invokeai_metadata" in texts:
        return _invoke(_object(texts["invokeai_metadata"]))
    if "sd-metadata" in texts:
        return _old_invoke(_object(texts["sd-metadata"]))
    if "Dream" in texts and "Comment" not in texts:
        return _dream(texts["Dream"])
    if "Comment" in texts and "uc" in (comment := _object(texts["Comment"])):
        return _novel({"prompt": texts.get("Description"), **comment}, tell)
    if "parameters" in texts:
        return _parameters(texts["parameters"], stem, tell)
    if "prompt" in texts:
        return _graph(texts["prompt"], stem)
    if "workflow" in texts:
        raise NotSaid("the drawing of a ComfyUI workflow, without the graph that ran")
    raise NotSaid(", ".join(texts) or "no text at all")


def _graph(text: str, stem: str) -> dict[str, object]:
    try:
        return graph_fields(_object(text), stem)
    except json.JSONDecodeError:
        raise NotSaid("a text called prompt that is no graph of ComfyUI") from None


def _parameters(text: str, stem: str, tell: Callable[[str], None]) -> dict[str, object]:
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return parameters_fields(text, tell)
    try:
        said = _object(text)
    except ValueError:
        # A prompt may start with a brace, as that of wildcards does, or with a bracket.
        if _STEPS.search(text) or start == "[":
            return parameters_fields(text, tell)
        raise
    if isinstance(swarm := said.get("sui_image_params"), dict):
        return _named(swarm, _SWARM)
    if isinstance(graph := said.get("prompt"), dict):
        return graph_fields(graph, stem)
    if any(isinstance(node, dict) and "class_type" in node for node in said.values()):
        return graph_fields(said, stem)
    if isinstance(said.get("prompt"), str) and said.keys() & {"metadata_scheme", "resolution"}:
        if said.get("styles") not in (None, "", [], "[]"):
            tell(f"the styles {said['styles']} of Fooocus are left out")
        size = _SIZE.fullmatch(str(said.get("resolution", "")))
        given = {"width": size[1], "height": size[2]} if size else {}
        return _named({**given, **said}, _FOOOCUS)
    raise NotSaid("JSON of a program that is not known")


def _named(said: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, object]:
    return {
        field: said[name]
        for name, field in {**names, **_COMMON}.items()
        if isinstance(said.get(name), str | int | float)
    }


def _invoke(said: Mapping[str, Any]) -> dict[str, object]:
    prompt, style = said.get("positive_prompt"), said.get("positive_style_prompt")
    if style and style != prompt:
        raise NotSaid("InvokeAI's positive_style_prompt, a second prompt")
    regions = said.get("regions"), _at(said, "canvas_v2_metadata", "regionalGuidance")
    if any(regions):
        raise NotSaid("InvokeAI's prompts for regions")
    return _named(said, _INVOKE)


def _old_invoke(said: Mapping[str, Any]) -> dict[str, object]:
    """InvokeAI 2, which writes the negative prompt into the prompt, in brackets."""
    image = said.get("image")
    image = image if isinstance(image, dict) else {}
    parts = image.get("prompt")
    if isinstance(parts, list):
        if len(parts) != 1 or not isinstance(parts[0], dict):
            raise NotSaid("several prompts of InvokeAI")
        parts = parts[0].get("prompt")
    text = parts if isinstance(parts, str) else ""
    return _bracketed(text) | _named(image, {"cfg_scale": "guidance_scale"})


def _dream(text: str) -> dict[str, object]:
    """InvokeAI 1, whose text is the command that made the picture."""
    match = _DREAM.fullmatch(text)
    if match is None:
        raise NotSaid("a Dream text without a prompt in quotes")
    return _bracketed(match[1]) | {
        _SWITCHES[name]: value for name, value in _SWITCH.findall(match[2])
    }


def _bracketed(text: str) -> dict[str, object]:
    """A prompt and, in its brackets, what is not to be seen."""
    negatives = [one.strip() for one in _BRACKETS.findall(text)]
    prompt = " ".join(_BRACKETS.sub(" ", text).split())
    return {"prompt": prompt, "negative_prompt": ", ".join(negatives)}


def _novel(said: Mapping[str, Any], tell: Callable[[str], None]) -> dict[str, object]:
    for name in ("v4_prompt", "v4_negative_prompt"):
        of = said.get(name)
        caption = of.get("caption") if isinstance(of, dict) else None
        if isinstance(caption, dict) and caption.get("char_captions"):
            raise NotSaid("NovelAI's prompts for each character")
    fields = _named(said, _NOVEL)
    if _NOVEL_SIGNS.search(f"{fields.get('prompt')}{fields.get('negative_prompt')}"):
        tell("braces, brackets, :: and | of NovelAI, which are weights there, stay as they are")
    return fields


def _at(said: object, *names: str) -> object:
    """What lies behind names within each other; None where one is not there."""
    for name in names:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def parameters_fields(text: str, tell: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """The fields of a text as AUTOMATIC1111's web UI writes it into pictures.

    Args:
        text: the prompt, `Negative prompt: ...`, and a line of `Steps: 20, Seed: 5, ...`. What
            extensions write behind that line is about how the prompt came to be.
        tell: takes what is left out.
    """
    values: dict[str, object] = {}
    if settings := _last(_STEPS, text):
        text = text[: settings.start()]
        for name, value in _SETTING.findall(settings[0]):
            size = _SIZE.fullmatch(value)
            if name in _SECOND_PASS:
                tell(f"the {name} of a second pass is left out: {value}")
            elif name == "Size" and size:
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


def is_parameters(text: str) -> bool:
    """Whether a text has the line of settings that AUTOMATIC1111's web UI writes."""
    return bool(_STEPS.search(text))


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(pattern.finditer(text), key=lambda match: match.start(), default=None)


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except RecursionError:
        raise ValueError("too many lists within each other") from None
    return value if isinstance(value, dict) else {}
