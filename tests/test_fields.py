"""Every field of a request is part of its image's identity and record, or says why not."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import Engine, ImageRequest, SizedRequest, SourceImage
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage, InvalidRequest
from batch_sdxl.core.request import kinds
from batch_sdxl.core.request.fields import (
    Declaration,
    When,
    canonical,
    declare,
    declared,
    from_plain,
    from_texts,
    to_plain,
)
from batch_sdxl.core.request.latents import SourceLatents
from batch_sdxl.core.request.named import Named
from PIL import Image

SOME, OTHER = (SourceLatents.of(np.full((4, 8, 8), n, np.float32), str(n)) for n in (1, 2))
RED, BLUE = (SourceImage.of(Image.new("RGB", (64, 64), name), name) for name in ("red", "blue"))

#: A request of which every field makes a difference.
FULL: dict[str, Any] = {
    "prompt": "a red circle",
    "negative_prompt": "dim",
    "clip_skip": 1,
    "negative_clip_skip": 0,
    "width": 64,
    "height": 64,
    "original_width": 32,
    "original_height": 32,
    "crop_left": 8,
    "crop_top": 8,
    "target_width": 128,
    "target_height": 128,
    "seed": 1,
    "num_inference_steps": 3,
    "guidance_scale": 5.0,
    "scheduler": "euler",
    "guidance_rescale": 0.3,
    "guidance_start": 0.1,
    "guidance_end": 0.9,
    "variation_seed": 3,
    "variation_strength": 0.4,
    "image": RED,
    "strength": 0.7,
}

#: Another value for each; sides of an image start from noise, since an image brings its own, and
#: what stands for no negative prompt goes without one.
OTHERS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "a blue square"},
    "negative_prompt": {"negative_prompt": ""},
    "empty_negative": {"empty_negative": "empty"},
    "clip_skip": {"clip_skip": 0},
    "negative_clip_skip": {"negative_clip_skip": None},
    "width": {"width": 72},
    "height": {"height": 72},
    "original_width": {"original_width": None},
    "original_height": {"original_height": 40},
    "crop_left": {"crop_left": 0},
    "crop_top": {"crop_top": 64},
    "target_width": {"target_width": None},
    "target_height": {"target_height": 64},
    "seed": {"seed": 2},
    "num_inference_steps": {"num_inference_steps": 5},
    "guidance_scale": {"guidance_scale": 6.5},
    "scheduler": {"scheduler": "ddim"},
    "guidance_rescale": {"guidance_rescale": 0.0},
    "guidance_start": {"guidance_start": 0.75},
    "guidance_end": {"guidance_end": 0.5},
    "variation_seed": {"variation_seed": 4},
    "variation_strength": {"variation_strength": 0.0},
    "image": {"image": BLUE},
    "latents": {"latents": OTHER},
    "strength": {"strength": 0.4},
}


def full(name: str = "", **changes: Any) -> SizedRequest:
    base = FULL | ({"image": None} if name in ("width", "height", "latents") else {})
    if name == "latents":
        base |= {"latents": SOME}
    if name == "empty_negative":
        base |= {"negative_prompt": "", "empty_negative": "zeros"}
    return SizedRequest(**base | changes)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ImageRequest)])
def test_a_field_changes_pixels_identity_and_record(engine: Engine, name: str) -> None:
    """A new field fails here until it is said what changes with it."""
    (known,) = (one for one in declared(ImageRequest) if one.name == name)
    one, other = full(name), full(name, **OTHERS[name])
    images = {i.index: i for i in engine.generate([one, other])}
    told = [images[k].record for k in (0, 1)]
    assert known.matters(one)
    assert known.pixels == (told[0].identity != told[1].identity)
    assert known.pixels == (images[0].decoded.tolist() != images[1].decoded.tolist())
    for image in images.values():
        plain = to_plain(image.request)
        again = from_plain(SizedRequest, plain)
        assert to_plain(again) == plain
        if isinstance(again.picture, Named):
            own = image.request
            again = dataclasses.replace(again, image=own.image, latents=own.latents)
        assert again == image.request


def test_a_field_that_is_not_declared_is_part_of_all(engine: Engine) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(ImageRequest):
        noise_gain: float = 1.0

    one, other = (
        engine.with_size(Later(prompt="a", seed=1, noise_gain=gain)) for gain in (1.0, 0.8)
    )
    assert isinstance(one, SizedRequest)
    assert isinstance(one, Later)
    told = [engine.describe(request) for request in (one, other)]
    assert told[0].identity != told[1].identity
    assert told[1].to_plain()["request"]["noise_gain"] == 0.8
    assert from_plain(type(other), to_plain(other)) == other
    with pytest.raises(InvalidRequest, match="noise_gain"):
        from_plain(SizedRequest, to_plain(other))
    with pytest.raises(InvalidRequest, match="noise_gain"):
        Later(prompt="a", seed=1, noise_gain=[1.0])  # type: ignore[arg-type]


def test_a_field_that_changes_no_pixel_says_so(engine: Engine) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Noted(ImageRequest):
        note: str = dataclasses.field(default="", metadata=declare(kinds.Text(), pixels=False))

    plain, noted = (Noted(prompt="a", seed=1, note=note) for note in ("", "for later"))
    sized = [engine.with_size(request) for request in (plain, noted)]
    assert engine.describe(sized[0]).identity == engine.describe(sized[1]).identity
    assert ["note" in to_plain(request) for request in sized] == [False, True]


def test_what_makes_no_difference_is_kept_where_it_was_asked() -> None:
    off = SizedRequest(
        prompt="a", seed=1, width=64, height=64, guidance_scale=0.5, negative_prompt="dim"
    )
    assert "negative_prompt" not in canonical(off)
    assert canonical(off)["guidance_scale"] == 1.0
    assert from_plain(SizedRequest, to_plain(off)) == off
    assert "strength" not in to_plain(off)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"seed": np.int64(7)}, 7),
        ({"seed": np.uint64(2**64 - 1)}, 2**64 - 1),
        ({"guidance_scale": np.float64(2.5)}, 2.5),
        ({"guidance_scale": 3}, 3.0),
        ({"guidance_rescale": -0.0}, 0.0),
        ({"prompt": np.str_("a")}, "a"),
        ({"num_inference_steps": np.int8(4)}, 4),
    ],
)
def test_values_of_numpy_become_pythons(fields: dict[str, Any], kept: Any) -> None:
    (name,) = fields
    value = getattr(ImageRequest(**{"prompt": "a", "seed": 1, **fields}), name)
    assert value == kept
    assert type(value) is type(kept)
    assert str(value) == str(kept)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_an_image(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(path)
    request = ImageRequest(prompt="a", seed=1, image=kind(path))
    assert request.image == RED
    assert request.picture is not None
    assert request.picture.name == "a.png"


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 16392},
        {"num_inference_steps": 10_001},
        {"num_inference_steps": 10**5000},
        {"guidance_scale": 100.5},
        {"guidance_scale": 10**400},
        {"guidance_scale": "7"},
        {"guidance_scale": None},
        {"original_width": 16385},
        {"crop_top": 16385},
        {"clip_skip": 31},
        {"prompt": "x" * 20_001},
        {"prompt": None},
        {"prompt": "\ud800"},
        {"seed": np.float64(1)},
        {"seed": np.True_},
        {"scheduler": None},
        {"image": 7},
        {"image": [[1], [1, 2]]},
        {"image": object()},
        {"image": "\0"},
    ],
)
def test_nothing_absurd_is_taken(fields: dict[str, Any]) -> None:
    with pytest.raises(BatchSDXLError) as caught:
        ImageRequest(**{"prompt": "a", "seed": 1, **fields})
    assert len(str(caught.value)) < 400


def test_an_image_of_which_only_the_name_is_known_is_not_made(engine: Engine) -> None:
    request = ImageRequest(prompt="a", seed=1, image=Named("a.png", "0" * 64))
    with pytest.raises(InvalidImage, match=r"the name alone, a\.png"):
        engine.generate([request])


def test_one_request_is_made_and_a_text_is_none(engine: Engine) -> None:
    (image,) = engine.generate(ImageRequest(prompt="a", seed=1, num_inference_steps=1))
    assert image.request.seed == 1
    with pytest.raises(InvalidRequest, match=r"ImageRequest\(prompt="):
        engine.generate("a")  # type: ignore[arg-type]


def test_texts_are_read_in_both_vocabularies() -> None:
    assert from_texts(ImageRequest, {"steps": "3", "guidance_scale": "4", "prompt": "7"}) == {
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "prompt": "7",
    }
    for texts in ({"cfg": "much"}, {"image": "a.png"}, {"nope": "1"}, {"seed": "1" * 5000}):
        with pytest.raises(InvalidRequest):
            from_texts(ImageRequest, texts)


@pytest.mark.parametrize("node", ["BatchGenerate", "PromptSettings"])
def test_nodes_take_what_requests_take(node: str) -> None:
    groups = NODE_CLASS_MAPPINGS[f"BatchSDXL_{node}"].INPUT_TYPES()
    inputs = {name: one for group in groups.values() for name, one in group.items()}
    seen = 0
    for one in declared(ImageRequest):
        kind = one.kind
        widget = inputs.get(one.comfyui or one.name)
        if not isinstance(kind, kinds.Whole | kinds.Number) or widget is None:
            continue
        seen += 1
        said = widget[1]
        assert said["max"] == kind.high, one.name
        # 0 leaves a size open.
        assert said["min"] == (0 if one.default is None else kind.low or said["min"]), one.name
    assert seen >= 5


def test_the_documented_form_is_the_declared_one() -> None:
    page = Path(__file__).parents[1] / "docs" / "reproducibility.md"
    assert "\n".join(map(line, declared(ImageRequest))) in page.read_text("utf-8")


def line(one: Declaration) -> str:
    """A field's line of the table."""
    said = [one.only.says] if one.only.says else []
    if one.unless in (0, 1, "empty"):
        said.append(f"it is not {one.unless if isinstance(one.unless, str) else int(one.unless)}")
    when = f"if {' and '.join(said)}" if said else "always" if one.pixels else "never"
    words = ", ".join(f"`{word}`" for word in (one.comfyui, one.a1111) if word)
    return f"| `{one.name}` | {one.kind.range} | {when} | {words} |"


def test_conditions_are_of_the_request() -> None:
    even = When("seed is even", lambda request: request.seed % 2 == 0)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Odd(SizedRequest):
        twist: int = dataclasses.field(
            default=0, metadata=declare(kinds.Whole(0, 9), only=even, unless=0)
        )

    made = [Odd(prompt="a", seed=s, width=64, height=64, twist=t) for s, t in ((1, 5), (2, 5))]
    assert ["twist" in canonical(request) for request in made] == [False, True]
