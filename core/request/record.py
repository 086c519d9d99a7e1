"""What an image file says about itself, and back.

It carries three kinds of text, which `image_texts` puts where each format has room for them:

`batch_sdxl`
    our own record, JSON: the image's request under the names of `ImageRequest` (an input image by
    name and SHA-256 of its pixels), `model` (name, SHA-256, and that of its `files` alone if
    anything was changed), what was changed: `vae`, `loras` (names, SHA-256) and `noise`;
    `inversions` that were called, `numerics` (of `numerics.fingerprint`), `identity` (of
    `identity.identity`), and `version` of this form.
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

from PIL.PngImagePlugin import PngInfo

from ..errors import InvalidImage
from ..images.files import open_image
from ..images.source import SourceImage
from ..models.model import Model
from ..numerics import Geometry, fingerprint
from ..saving.texts import png_info, texts_in
from ..text.chunks import called_inversions
from .identity import conditioning, identity
from .image_request import CONDITIONING, ImageRequest

#: Key of our own record among a PNG's texts.
KEY = "batch_sdxl"
VERSION = 1

Record = dict[str, Any]

#: So many digits of a SHA-256 do other tools write and look up.
_HASH = 10

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
    prompts = (request.prompt, request.negative_prompt) if request.is_guided else (request.prompt,)
    called = set().union(*(called_inversions(prompt, model.inversions) for prompt in prompts))
    inversions = {name: model.inversions[name].digest for name in sorted(called)}
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
    if model.given_vae is not None:
        name, digest = model.given_vae
        record["vae"] = {"name": name, "sha256": digest}
    if model.noise:
        record["noise"] = dict(model.noise)
    if model.loras:
        record["loras"] = [
            {
                "name": lora.name,
                "sha256": lora.digest,
                "weight": lora.weight,
                "text_weight": lora.text_weight,
            }
            for lora in model.loras
        ]
    if inversions:
        record["inversions"] = inversions
    return (
        record
        | conditioning(request)
        | {
            "model": _model(model),
            "numerics": numerics,
            "identity": identity(request, model.digest, numerics, inversions),
        }
    )


def _model(model: Model) -> dict[str, str]:
    named = {"name": model.name, "sha256": model.digest}
    contents = model.contents
    # The hash by which other tools know the model.
    return named | ({"files": contents.files_digest} if contents.changes else {})


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
    fields |= {name: record[name] for name in CONDITIONING if name in record}
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
        "Model hash": _model_hash(record),
        "Model": record["model"]["name"],
    }
    if "vae" in record:
        settings["VAE hash"] = record["vae"]["sha256"][:_HASH]
        settings["VAE"] = record["vae"]["name"]
    if "variation_strength" in record:
        settings["Variation seed"] = record["variation_seed"]
        settings["Variation seed strength"] = record["variation_strength"]
    if "strength" in record:
        settings["Denoising strength"] = record["strength"]
    if "clip_skip" in record:
        settings["Clip skip"] = record["clip_skip"] + 2  # counted from the last layer there
    if "guidance_rescale" in record:
        settings["CFG Rescale phi"] = record["guidance_rescale"]
    lines = [record["prompt"]]
    if record["negative_prompt"]:
        lines.append(f"Negative prompt: {record['negative_prompt']}")
    said = [f"{name}: {_quoted(value)}" for name, value in settings.items()]
    hashes = _hashes(record)
    if len(hashes) > 1:
        said.append(f"Hashes: {json.dumps(hashes)}")
    lines.append(", ".join(said))
    return "\n".join(lines)


def _model_hash(record: Mapping[str, Any]) -> str:
    model = record["model"]
    return str(model.get("files", model["sha256"])[:_HASH])


def _hashes(record: Mapping[str, Any]) -> dict[str, str]:
    """What the image was made with, in the form in which Civitai looks it up."""
    hashes = {"model": _model_hash(record)}
    if "vae" in record:
        hashes["vae"] = record["vae"]["sha256"][:_HASH]
    for lora in record.get("loras", []):
        hashes[f"lora:{lora['name']}"] = lora["sha256"][:_HASH]
    for name, digest in record.get("inversions", {}).items():
        hashes[f"embed:{name}"] = digest[:_HASH]
    return hashes


def _quoted(value: object) -> str:
    """Values with a comma, colon or line break are written as JSON strings there."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text


def file_texts(record: Mapping[str, Any], graph: Mapping[str, Any]) -> dict[str, str]:
    """The texts of an image file by name, the more important ones first.

    Args:
        record: of `describe`.
        graph: ComfyUI's entries by name (`prompt`, `workflow`); empty where there was none.
    """
    # No file can hold half a character, which JSON can ask for; the record has it as an escape.
    readable = parameters(record).encode("utf-8", "replace").decode()
    own = {KEY: json.dumps(record), "parameters": readable}
    return own | {name: json.dumps(value) for name, value in graph.items() if name not in own}


def png_texts(record: Mapping[str, Any], graph: Mapping[str, Any]) -> PngInfo:
    """The texts of a PNG file, of what `file_texts` takes."""
    return png_info(file_texts(record, graph))


def _is_record(record: Any) -> bool:
    """Whether it is one of this version, with everything that making the image again needs."""
    model, numerics, image = record["model"], record["numerics"], record.get("image")
    texts = [model["name"], model["sha256"], numerics["dtype"], record["scheduler"]]
    loras, inversions = record.get("loras", []), dict(record.get("inversions", {}))
    for named in (image, record.get("vae"), *loras):
        if named is not None:
            texts += [named["name"], named["sha256"]]
    weights = [lora[key] for lora in loras for key in ("weight", "text_weight")]
    noise = {"prediction_type": None, "zero_terminal_snr": None} | record.get("noise", {})
    return (
        record["version"] == VERSION
        and all(isinstance(text, str) for text in (*texts, *inversions, *inversions.values()))
        and all(isinstance(weight, int | float) for weight in weights)
        and len(noise) == 2
        and isinstance(noise["zero_terminal_snr"], bool | None)
        and isinstance(numerics["rows"], int)
        and isinstance(numerics["threads"], int | None)
    )


def read_record(path: Path) -> Record:
    """The record in an image file.

    Raises:
        InvalidImage: the file cannot be read, or was not made by Batch SDXL.
    """
    with open_image(path) as image:
        texts = texts_in(image)
    return record_in(texts, path)


def record_in(texts: Mapping[str, str], path: Path) -> Record:
    """The record among an image file's texts.

    Args:
        texts: of `image_texts.texts_in`.
        path: the file, for messages.

    Raises:
        InvalidImage: there is none.
    """
    try:
        record = json.loads(texts.get(KEY, ""))
        if _is_record(record):
            return dict(record)
        found = f"{path} with a record of version {record['version']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        found = f"{path} without one"
    raise InvalidImage(
        f"an image with a {KEY} record of version {VERSION}",
        found,
        "Give a file that Save Image Batch wrote; other programs may have taken the record out.",
    )
