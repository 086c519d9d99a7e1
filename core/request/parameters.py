"""A record as AUTOMATIC1111's web UI writes it, read by Civitai and many other tools."""

from __future__ import annotations

import json
from typing import Any

from .fields import declared
from .record import Record

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


def parameters(record: Record) -> str:
    """The record as text: the prompt, the negative prompt if there is one, and a line of settings.

    That line is of `Name: value`, in the words that the fields' declarations give.
    """
    request = record.request
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    said = [f"{name}: {_quoted(value)}" for name, value in _settings(record).items()]
    hashes = _hashes(record)
    if len(hashes) > 1:
        said.append(f"Hashes: {json.dumps(hashes)}")
    lines.append(", ".join(said))
    return "\n".join(lines)


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
    settings |= {"Model hash": model.files_digest[:_HASH], "Model": model.name}
    if model.vae is not None:
        settings |= {"VAE hash": model.vae.digest[:_HASH], "VAE": model.vae.name}
    return settings | own


def _hashes(record: Record) -> dict[str, str]:
    """What the image was made with, in the form in which Civitai looks it up."""
    model = record.model
    hashes = {"model": model.files_digest}
    if model.vae is not None:
        hashes["vae"] = model.vae.digest
    hashes |= {f"lora:{lora.name}": lora.digest for lora in model.loras}
    hashes |= {f"embed:{name}": digest for name, digest in record.inversions.items()}
    return {name: digest[:_HASH] for name, digest in hashes.items()}


def _quoted(value: object) -> str:
    """Values with a comma, colon or line break are written as JSON strings there."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text
