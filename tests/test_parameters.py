"""The `parameters` text says the same to AUTOMATIC1111's web UI, and to our own reader of it."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from batch_sdxl.core.prompts.picture_formats import parameters_fields
from batch_sdxl.core.request.named import Named
from batch_sdxl.core.request.parameters import parameters
from batch_sdxl.core.request.record import NamedLora, Record
from batch_sdxl.tests.records import make_record

#: How that program finds names and values in the last line: a value ends at a comma, or is a JSON
#: string.
PAIR = re.compile(r"""(?P<name>\w[\w /-]+):\s*(?P<value>"(?:[^"\\]|\\.)+"|[^,]*)(?:,|$)""")

LINES = [
    *("a red circle", "Negative prompt: a", "  Negative prompt:", "Steps: 9, Seed: 9, Size: 1x1"),
    *("Negative prompt", "x: y, z: 1", '"quoted", {"a": 1}', "naïve 日本語", "", " ", "a\\(b\\)"),
]
NAMES = ["demo", "sd_xl_base_1.0", "a, b: c", '"quoted"', "x y", "Größe, 1", "v1-5"]


def as_automatic1111(text: str) -> dict[str, str]:
    """What its reader makes of a text; sides of the size are `Size-1` and `Size-2` there."""
    *lines, last = text.strip().split("\n")
    assert len(PAIR.findall(last)) >= 3
    said = {"Prompt": "", "Negative prompt": ""}
    part = "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            part, line = "Negative prompt", line.removeprefix("Negative prompt:").strip()
        said[part] += line if not said[part] else f"\n{line}"
    for name, value in PAIR.findall(last):
        if size := re.fullmatch(r"(\d+)x(\d+)", value):
            said |= {f"{name}-1": size[1], f"{name}-2": size[2]}
        else:
            said[name] = json.loads(value) if value[:1] == '"' == value[-1:] else value
    return said


def words(text: str) -> list[str]:
    """All that a text encoder can tell of blanks."""
    return text.split()


def some_record(draw: random.Random) -> Record:
    def text() -> str:
        return "\n".join(draw.choices(LINES, k=draw.randint(0, 4)))

    def digest() -> str:
        return f"{draw.getrandbits(256):064x}"

    fields: dict[str, Any] = {
        "prompt": text(),
        "negative_prompt": text(),
        "seed": draw.getrandbits(64),
        "num_inference_steps": draw.randint(1, 200),
        "guidance_scale": round(draw.uniform(1.01, 20), draw.randint(0, 3)) + 0.5,
        "width": 8 * draw.randint(1, 200),
        "height": 8 * draw.randint(1, 200),
        "clip_skip": draw.randint(0, 3),
        "guidance_rescale": draw.choice([0.0, 0.7]),
        "variation_strength": draw.choice([0.0, 0.25]),
        "variation_seed": draw.getrandbits(64),
        "scheduler": draw.choice(["euler", "dpmpp_2m:karras", "er_sde:ays"]),
    }
    known = make_record(**fields)
    loras = [
        NamedLora(
            f"{draw.choice(['', 'styles/'])}{name}.safetensors",
            digest(),
            draw.choice([0.8, 1.0, -0.25]),
            draw.choice([0.8, 1.0, 0.0]),
        )
        for name in draw.sample(NAMES, draw.randint(0, 2))
    ]
    model = replace(
        known.model,
        name=f"{draw.choice(NAMES)}.safetensors",
        digest=digest(),
        files_digest=digest(),
        vae=draw.choice([None, Named("sdxl_vae.safetensors", digest())]),
        loras=tuple(loras),
    )
    inversions = {name: digest() for name in draw.sample(NAMES[4:], draw.randint(0, 2))}
    return replace(known, model=model, inversions=inversions)


@pytest.mark.parametrize("seed", range(100))
def test_what_was_written_is_read(seed: int) -> None:
    record = some_record(random.Random(seed))
    request, model = record.request, record.model
    written = parameters(record)
    said = as_automatic1111(written)

    tags = [tag.split(":") for tag in re.findall(r"<lora:([^>]+)>", said["Prompt"])]
    prompt = re.sub(r"<lora:[^>]+>", "", said["Prompt"])
    assert words(prompt) == words(request.prompt)
    assert words(said["Negative prompt"]) == words(request.negative_prompt)
    # A second number is that of the UNet, where it has another than the text encoders.
    weights = [(float(own[0]), float(own[-1])) for _, *own in tags]
    assert weights == [(lora.text_weight, lora.weight) for lora in model.loras]
    hashes = [one.split(": ") for one in said.get("Lora hashes", "").split(", ") if one]
    assert hashes == [
        [name, lora.digest[:10]] for (name, *_), lora in zip(tags, model.loras, strict=True)
    ]

    assert said["Seed"] == str(request.seed)
    assert said["Steps"] == str(request.num_inference_steps)
    assert float(said["CFG scale"]) == request.guidance_scale
    assert (said["Size-1"], said["Size-2"]) == (str(request.width), str(request.height))
    assert int(said.get("Clip skip", 2)) == request.clip_skip + 2
    assert float(said.get("Variation seed strength", 0)) == request.variation_strength
    assert said["RNG"] == "CPU"
    assert said["Model hash"] == model.files_digest[:10]
    assert re.sub("[:,]", "", f"{said['Model']}.safetensors") == re.sub("[:,]", "", model.name)
    if model.vae is not None:
        assert (said["VAE"], said["VAE hash"]) == (model.vae.name, model.vae.digest[:10])
    known = {"Prompt", "Negative prompt", "Steps", "Sampler", "Schedule type", "CFG scale", "Seed"}
    known |= {"Size-1", "Size-2", "Model hash", "Model", "VAE hash", "VAE", "Clip skip", "RNG"}
    known |= {"CFG Rescale phi", "Variation seed", "Variation seed strength"}
    assert said.keys() <= known | {"Lora hashes", "TI hashes"}

    fields = parameters_fields(written)
    assert words(str(fields["prompt"])) == words(said["Prompt"])
    assert words(str(fields.get("negative_prompt", ""))) == words(request.negative_prompt)
    for name in ("seed", "num_inference_steps", "guidance_scale", "width", "height", "clip_skip"):
        assert float(str(fields.get(name, 0))) == float(getattr(request, name)), name


def test_a_line_that_begins_like_the_negative_prompt_stays_where_it_is() -> None:
    record = make_record(prompt="a\nNegative prompt: b", negative_prompt="Negative prompt: c")
    assert parameters(record).startswith(
        "a\nNegative  prompt: b\nNegative prompt: Negative  prompt: c\nSteps: "
    )
