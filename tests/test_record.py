"""Records: what we wrote is read, and everything else is answered in words."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from batch_sdxl.core import Engine, SourceImage
from batch_sdxl.core.errors import InvalidImage
from batch_sdxl.core.request.image_request import SizedRequest
from batch_sdxl.core.request.named import Named
from batch_sdxl.core.request.record import MadeWith, NamedLora, Record
from batch_sdxl.tests.records import NUMERICS, make_record
from PIL import Image

#: A record with all there can be.
WHOLE = Record(
    request=SizedRequest(
        prompt="a 圆 circle",
        negative_prompt="dim",
        seed=2**64 - 1,
        width=64,
        height=72,
        guidance_rescale=0.1,
        image=Named("clip.gif#3", "ab" * 32),
        strength=0.3,
    ),
    model=MadeWith(
        name="owner/\udcff",
        digest="01" * 32,
        files_digest="02" * 32,
        vae=Named("vae", "03" * 32),
        loras=(NamedLora("one", "04" * 32, 1.0, -0.5), NamedLora("two", "05" * 32, 0.0, 0.1)),
        noise={"prediction_type": "v_prediction", "zero_terminal_snr": True},
        through="ComfyUI",
        unpromised=("a patch", "another"),
    ),
    numerics=NUMERICS | {"vae_tile": 512},
    identity="06" * 32,
    inversions={"style/red": "07" * 32},
    refined_from="08" * 32,
)

#: What stands in for a value of a record.
STRANGERS: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 10**9, 10**30, 2**64, 0.5, -0.0, 1e300, "", "x", "7"),
    *("load", "\0", "\ud800", "../" * 400, "x" * 30_000, [], [[]], {}, {"name": 1}, [1] * 1000),
    *("0" * 64, "F" * 64, {str(k): k for k in range(200)}, {"name": "x", "sha256": "0" * 64}),
]


@pytest.mark.parametrize("record", [WHOLE, make_record()])
def test_what_was_written_is_read(record: Record) -> None:
    text = record.to_json()
    assert text.isascii()
    assert Record.from_json(text, "a.png") == record
    assert Record.from_json(text, "a.png").to_json() == text


def test_what_an_engine_says_is_read(engine: Engine) -> None:
    source = SourceImage.of(Image.new("RGB", (64, 64)), "a.png")
    (image,) = engine.generate(
        [engine.with_size(make_record(width=64, height=64, image="").request)]
    )
    assert Record.from_json(image.record.to_json(), "") == image.record
    told = engine.describe(SizedRequest(prompt="x", seed=1, width=64, height=64, image=source))
    assert told.request.image == Named("a.png", source.digest)
    assert Record.from_json(told.to_json(), "") == told


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", "NaN", "null", '"x"', "[" * 100_000, '{"a":' * 50_000),
        *('{"version": 1}', '{"version": true}', '{"version": 2}', '{"version": 2.0, "x": 1}'),
        "1" * 10_000,
        '{"version": ' + "9" * 5_000 + "}",
        make_record().to_json().replace("7.0", "NaN"),
        make_record().to_json().replace("7.0", "Infinity"),
        make_record().to_json().replace("7.0", "1e999"),
    ],
)
def test_any_other_text_is_answered(text: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        Record.from_json(text, "a.png")
    assert "a.png" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("place", "value", "part"),
    [
        ("request.num_inference_steps", None, "a number of steps"),
        ("request.num_inference_steps", 1_000_000, "of 1 to 10000"),
        ("request.guidance_scale", None, "a guidance scale"),
        ("request.guidance_rescale", "0.7", "a guidance_rescale of 0 to 1"),
        ("request.width", 65536, "a width of 8 to 16384"),
        ("request.prompt", "tree " * 36_000, "at most 20,000 characters"),
        ("request.noise_gain", 1.0, "noise_gain"),
        ("request.image", "/etc/passwd", "an input image by name"),
        ("numerics.rows", 10**9, "rows of one UNet call of 2 to 256"),
        ("numerics.rows", 3, "multiple of 2"),
        ("numerics.vae_tile", "x", "a vae_tile of 128"),
        ("numerics.threads", -1, "a number of threads"),
        ("numerics.threads", 2**31 - 1, "a number of threads"),
        ("numerics.dtype", "load", "float32, float16, bfloat16"),
        ("numerics.torch", ["2"], "numerics in plain values"),
        ("numerics", "cpu", "numerics"),
        ("model.sha256", "0", "64 digits"),
        ("model.name", "a\0b", "the name of a model"),
        ("model.through", 3, "the program that ran a model"),
        ("model.unpromised", ["a", 3], "texts for unpromised"),
        ("identity", 5, "an identity"),
        ("more", 5, "a record with version"),
    ],
)
def test_values_that_cannot_be_are_named(place: str, value: Any, part: str) -> None:
    plain = make_record().to_plain()
    *path, last = place.split(".")
    inner = plain
    for name in path:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(InvalidImage) as caught:
        Record.from_json(json.dumps(plain), "a.png")
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["prompt", "seed", "width", "num_inference_steps", "scheduler"])
def test_a_missing_value_is_named(name: str) -> None:
    plain = make_record().to_plain()
    del plain["request"][name]
    with pytest.raises(InvalidImage):
        Record.from_json(json.dumps(plain), "a.png")


def mutated(draw: random.Random) -> str:
    """A record's JSON with one to three values replaced, renamed, doubled or gone."""
    plain = copy.deepcopy(draw.choice((WHOLE, make_record())).to_plain())
    for _ in range(draw.randint(1, 3)):
        inner, key = draw.choice(list(places(plain)))
        change = draw.randrange(6)
        if change == 0:
            del inner[key]
        elif change == 1 and isinstance(inner, dict):
            inner[draw.choice(("more", "", "seed", "image", "loras"))] = inner.pop(key)
        elif change == 2:
            inner[key] = [inner[key]]
        else:
            inner[key] = copy.deepcopy(draw.choice(STRANGERS))
    text = json.dumps(plain)
    if draw.random() < 0.1:
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice(("", "{", '"', "\\u0000", "NaN")) + text[at + 1 :]
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value in lists and objects."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def read_mutated(number: int) -> int:
    """How many of so many mutated records are taken; none may fail but with our error."""
    draw = random.Random(number)
    taken = 0
    for _ in range(number):
        text = mutated(draw)
        try:
            record = Record.from_json(text, "a.png")
        except InvalidImage as error:
            assert len(str(error)) < 2000
        else:
            assert Record.from_json(record.to_json(), "") == record
            taken += 1
    return taken


def test_mutated_records_are_read_or_answered() -> None:
    assert 0 < read_mutated(500) < 250


@pytest.mark.slow
def test_a_hundred_thousand_mutated_records_are_read_or_answered() -> None:
    assert 0 < read_mutated(100_000) < 50_000
