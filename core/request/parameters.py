"""A record as AUTOMATIC1111's web UI writes it, read by Civitai and many other tools."""

from __future__ import annotations

import json
import re
from typing import Any

from .fields import declared
from .record import NamedLora, Record
from .row import Row, ToldRow

_NEGATIVE = "Negative prompt:"
#: Where a text would be taken for the beginning of the negative one.
_TAKEN_FOR_NEGATIVE = re.compile(rf"^(\s*){_NEGATIVE}", re.MULTILINE)

#: What a LoRA's name can't hold there.
_NO_NAME = re.compile(r"[<>:,]")

#: So many digits of a SHA-256 do other tools write and look up.
_HASH = 10

#: What comes first, in this order.
_FIRST = ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size")

#: Our samplers and spacings -> the names of AUTOMATIC1111's web UI, where it has one.
_SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "uni_pc": "UniPC",
    "ddim": "DDIM",
    "lcm": "LCM",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpm_fast": "DPM fast",
}
_SPACINGS = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "kl_optimal": "KL Optimal",
    "ays": "Align Your Steps",
}


def parameters(record: Row) -> str:
    """The record as text: the prompt, the negative prompt if there is one, and a line of settings.

    The prompt ends in `<lora:name:weight>` for each LoRA, which is how that program applies them.
    The line is of `Name: value`, in the words that the fields' declarations give.
    """
    request = record.request
    loras = () if isinstance(record, ToldRow) else record.model.loras
    lines = [" ".join([_text(request.prompt), *map(_tag, loras)])]
    if request.negative_prompt:
        lines.append(f"{_NEGATIVE} {_text(request.negative_prompt)}")
    settings = _told(record) if isinstance(record, ToldRow) else _settings(record)
    lines.append(", ".join(f"{name}: {_quoted(str(v))}" for name, v in settings.items()))
    return "\n".join(lines)


def _text(prompt: str) -> str:
    """A prompt no line of which is taken for a negative one; to a tokenizer two blanks are one."""
    return _TAKEN_FOR_NEGATIVE.sub(rf"\1{_NEGATIVE.replace(' ', '  ')}", prompt)


def _tag(lora: NamedLora) -> str:
    """The weight of the text encoders comes first, and stands for both where they are equal."""
    weights = dict.fromkeys((lora.text_weight, lora.weight))
    written = ":".join(str(weight).removesuffix(".0") for weight in weights)
    return f"<lora:{_stem(lora.name)}:{written}>"


def _stem(name: str) -> str:
    """A file's name as that program calls it: without folders and ending."""
    own = re.split(r"[/\\]", name)[-1].removesuffix(".safetensors")
    return _NO_NAME.sub("", own)


def _told(row: ToldRow) -> dict[str, Any]:
    """What is known of an image that is not ours."""
    told = row.request
    seed = {} if told.seed is None else {"Seed": told.seed}
    return {**seed, "Size": f"{told.width}x{told.height}"}


def _settings(record: Record) -> dict[str, Any]:
    request, model = record.request, record.model
    sampler, _, spacing = request.scheduler.partition(":")
    own: dict[str, Any] = {
        one.a1111: getattr(request, one.name) + one.a1111_offset
        for one in declared(type(request))
        if one.a1111 and one.matters(request)
    }
    own["Sampler"] = _SAMPLERS.get(sampler, sampler)
    own["Schedule type"] = _SPACINGS.get(spacing, "Automatic")
    own["Size"] = f"{request.width}x{request.height}"
    settings = {name: own.pop(name) for name in _FIRST}
    settings |= {"Model hash": model.files_digest[:_HASH], "Model": _stem(model.name)}
    if model.vae is not None:
        settings |= {"VAE hash": model.vae.digest[:_HASH], "VAE": model.vae.name}
    own["RNG"] = "CPU"
    for kind, digests in (
        ("Lora hashes", {_stem(lora.name): lora.digest for lora in model.loras}),
        ("TI hashes", record.inversions),
    ):
        if digests:
            own[kind] = ", ".join(f"{name}: {one[:_HASH]}" for name, one in digests.items())
    return settings | own


def _quoted(text: str) -> str:
    """What would not end at the next comma, or lose a blank, is written as a JSON string there."""
    if text == text.strip() and not any(sign in text for sign in ',:\n"'):
        return text
    return json.dumps(text, ensure_ascii=False)
