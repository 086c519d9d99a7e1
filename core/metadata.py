"""What an image file says about itself, and back.

A PNG carries three kinds of text:

`batch_sdxl`
    our own record, JSON: the image's request under the names of `ImageRequest` (an input image by
    name and SHA-256 of its pixels), `model` (name, SHA-256), `numerics` (of
    `numerics.fingerprint`), `identity` (of `identity.identity`), and `version` of this form.
`parameters`
    the same as the line that AUTOMATIC1111's web UI writes, which Civitai and most tools read.
`prompt`, `workflow`
    ComfyUI's graph, where one made the image: dropping the file on ComfyUI opens it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from .errors import InvalidImage
from .identity import identity
from .images import SourceImage
from .model import Model
from .numerics import Geometry, fingerprint
from .request import ImageRequest

#: Key of our own record among a PNG's texts.
KEY = "batch_sdxl"
VERSION = 1

Record = dict[str, Any]

#: Our samplers and spacings -> the names of AUTOMATIC1111's web UI, where it has one.
_A1111_SAMPLERS = {
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
}
_A1111_SPACINGS = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
}


def describe(request: ImageRequest, model: Model, geometry: Geometry) -> Record:
    """The record that goes along with an image: plain values that JSON can hold.

    Args:
        request: with its width and height filled in.
        model: that made it.
        geometry: that it was made with.
    """
    numerics = fingerprint(model, geometry)
    record: Record = {
        "version": VERSION,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "scheduler": request.scheduler,
    }
    if request.image is not None:
        record["strength"] = request.strength
        record["image"] = {"name": request.image.name, "sha256": request.image.digest}
    return record | {
        "model": {"name": model.name, "sha256": model.digest},
        "numerics": numerics,
        "identity": identity(request, model.digest, numerics),
    }


def to_request(record: Mapping[str, Any], image: SourceImage | None = None) -> ImageRequest:
    """The request of a record.

    Args:
        record: of `describe`.
        image: the input image, if the record names one.

    Raises:
        InvalidRequest: a value is out of its range.
    """
    names = ("prompt", "negative_prompt", "seed", "width", "height", "num_inference_steps")
    fields = {name: record[name] for name in (*names, "guidance_scale", "scheduler")}
    if image is not None:
        fields |= {"image": image, "strength": record["strength"]}
    return ImageRequest(**fields)


def parameters(record: Mapping[str, Any]) -> str:
    """The record as AUTOMATIC1111's web UI writes it, read by Civitai and many other tools.

    Three lines: the prompt, the negative prompt if there is one, and settings as `Name: value`.
    """
    sampler, _, spacing = record["scheduler"].partition(":")
    settings = {
        "Steps": record["num_inference_steps"],
        "Sampler": _A1111_SAMPLERS.get(sampler, sampler),
        "Schedule type": _A1111_SPACINGS.get(spacing, "Automatic"),
        "CFG scale": record["guidance_scale"],
        "Seed": record["seed"],
        "Size": f"{record['width']}x{record['height']}",
        "Model hash": record["model"]["sha256"][:10],
        "Model": record["model"]["name"],
    }
    if "strength" in record:
        settings["Denoising strength"] = record["strength"]
    lines = [record["prompt"]]
    if record["negative_prompt"]:
        lines.append(f"Negative prompt: {record['negative_prompt']}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items()))
    return "\n".join(lines)


def _quoted(value: object) -> str:
    """Values with a comma, colon or line break are written as JSON strings there."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text


def png_texts(record: Mapping[str, Any], graph: Mapping[str, Any]) -> PngInfo:
    """The texts of a PNG file.

    Args:
        record: of `describe`.
        graph: ComfyUI's entries by name (`prompt`, `workflow`); empty where there was none.
    """
    info = PngInfo()
    info.add_text(KEY, json.dumps(record))
    info.add_text("parameters", parameters(record))
    for name, value in graph.items():
        info.add_text(name, json.dumps(value))
    return info


def _is_record(record: Any) -> bool:
    """Whether it is one of this version, with everything that making the image again needs."""
    model, numerics, image = record["model"], record["numerics"], record.get("image")
    texts = [model["name"], model["sha256"], numerics["dtype"], record["scheduler"]]
    if image is not None:
        texts += [image["name"], image["sha256"]]
    return (
        record["version"] == VERSION
        and all(isinstance(text, str) for text in texts)
        and isinstance(numerics["rows"], int)
        and isinstance(numerics["threads"], int | None)
    )


def read_record(path: Path) -> Record:
    """The record in an image file.

    Raises:
        InvalidImage: the file cannot be read, or was not made by Batch SDXL.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(KEY)
    except (UnidentifiedImageError, OSError) as error:
        raise InvalidImage("an image file", f"{path} ({error})", "Check the name.") from error
    try:
        record = json.loads(text or "")
        if _is_record(record):
            return dict(record)
        found = f"{path} with a record of version {record['version']}"
    except (ValueError, LookupError, TypeError):
        found = f"{path} without one"
    raise InvalidImage(
        f"an image with a {KEY} record of version {VERSION}",
        found,
        "Give a PNG that Save Image Batch wrote; other programs may have taken the record out.",
    )
