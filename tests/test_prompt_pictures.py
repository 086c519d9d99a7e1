"""Pictures of other programs as prompt source: what each writes, and what comes of it."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidPrompts
from batch_sdxl.core.prompts.files import read_rows
from batch_sdxl.core.prompts.picture_formats import parameters_fields
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.prompt_list import compose
from batch_sdxl.tests.broken_json import broken
from batch_sdxl.tests.records import make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def said(text: str, negative: str = "", **values: Any) -> Prompt:
    return Prompt(text, negative, Settings(values))


def save_png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


PARAMETERS = (
    "a cat,\nSteps: 5 of stone\nNegative prompt: not this,\nbut this\nNegative prompt: dim\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, "
    'Model: "x, y", Denoising strength: 0.4\nTemplate: a {cat|dog}'
)
GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "KSampler",
        "inputs": {"seed": 3, "steps": 8, "cfg": 2.0, "positive": ["2", 0], "negative": ["4", 0]},
    },
    "2": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["3", 0]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["5", 0], "clip": ["9", 0]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "dim", "clip": ["9", 0]}},
    "5": {"class_type": "PrimitiveString", "inputs": {"value": "a fox"}},
}


def test_pictures_say_their_prompts_in_natural_order(tmp_path: Path) -> None:
    record = {
        "prompt": "own",
        "negative_prompt": "",
        "seed": 2**64 - 1,
        "guidance_scale": 7.0,
        "scheduler": "euler",
        "image": {"name": "in.png", "sha256": "0"},
    }
    save_png(tmp_path / "2.png", batch_sdxl=json.dumps({"request": record}), parameters=PARAMETERS)
    save_png(tmp_path / "10.png", parameters=PARAMETERS)
    save_png(tmp_path / "1.png", prompt=json.dumps(GRAPH), workflow="{}")
    (tmp_path / "notes.txt").write_text("left out")
    assert list(compose(read_rows(tmp_path))) == [
        said("a fox", "dim", seed=3, num_inference_steps=8, guidance_scale=2.0),
        said("own", seed=2**64 - 1, guidance_scale=7.0, image="in.png"),
        said(
            "a cat,\nSteps: 5 of stone\nNegative prompt: not this,\nbut this",
            "dim",
            num_inference_steps=20,
            guidance_scale=7.5,
            seed=2**64 - 1,
            width=512,
            height=768,
            strength=0.4,
        ),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"Software": "x"},
        {"prompt": "{not json"},
        {"prompt": "a red circle"},
        {"parameters": '[{"prompt": "a red circle"}]'},
        {"invokeai_metadata": '{"positive_prompt": "a", "regions": [{"prompt": "b"}]}'},
        {
            "invokeai_metadata": '{"positive_prompt": "a", '
            '"canvas_v2_metadata": {"regionalGuidance": [{"positivePrompt": "b"}]}}'
        },
        {"parameters": '{"prompt": "a red circle"}'},
        {"parameters": '{"prompt": 5}'},
        {"invokeai_metadata": '{"positive_prompt": "a", "positive_style_prompt": "b"}'},
        {"workflow": "{}"},
        {"prompt": json.dumps({**GRAPH, "3": {"inputs": {"text": ["2", 0]}}})},
        {"batch_sdxl": "[" * 100_000},
        {"parameters": "\nSteps: 20, Seed: 5"},
    ],
)
def test_a_picture_that_does_not_say_its_prompt_is_named(
    tmp_path: Path, texts: dict[str, str]
) -> None:
    save_png(tmp_path / "1.png", parameters="a\nSteps: 5")
    save_png(tmp_path / "silent.png", **texts)
    with pytest.raises(InvalidPrompts, match=r"silent\.png"):
        list(read_rows(tmp_path))


def test_a_picture_that_does_not_say_its_prompt_is_skipped_if_wanted(tmp_path: Path) -> None:
    save_png(tmp_path / "1.png", parameters="a\nSteps: 5")
    save_png(tmp_path / "2.png")
    save_png(tmp_path / "3.png", parameters="a <lora:x:1>\nSteps: 5")
    (tmp_path / "4.jpg").write_bytes(b"\xff\xd8")
    told: list[str] = []
    prompts = compose(read_rows(tmp_path, "skip", told.append))
    assert [prompt.prompt for prompt in prompts] == ["a"]
    assert told[:2] == ["skipped: 2.png with no text at all", "skipped: <lora:x:1> at 3.png"]
    assert told[2].startswith("skipped: 4.jpg (cannot identify")


def test_a_folder_without_pictures_and_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\na\n")
    with pytest.raises(InvalidPrompts, match="a folder of pictures"):
        list(read_rows(tmp_path))


def test_captions_beside_pictures_are_their_prompts(tmp_path: Path) -> None:
    for name in ("2.png", "10.png", "1.bmp", "3.webp", "4.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    save_png(tmp_path / "4.png", parameters="own\nSteps: 5")
    (tmp_path / "1.txt").write_text("first,\nred\n")
    (tmp_path / "2.caption").write_text("second")
    (tmp_path / "3.txt").write_text("third\nNegative prompt: dim\nSteps: 7, Seed: 5")
    (tmp_path / "10.txt").write_text("tenth")
    (tmp_path / "notes.txt").write_text("left out")
    told: list[str] = []
    assert list(compose(read_rows(tmp_path, tell=told.append))) == [
        said("first,\nred"),
        said("second"),
        said("third", "dim", num_inference_steps=7, seed=5),
        said("own", num_inference_steps=5),
        said("tenth"),
    ]
    assert told == ["left out, since no picture has their name: notes.txt"]


def test_texts_of_a_folder_without_pictures_are_read_in_turn(tmp_path: Path) -> None:
    (tmp_path / "10.txt").write_text("c\n")
    (tmp_path / "2.txt").write_text("a\n# no\nb\n")
    assert [prompt.prompt for prompt in compose(read_rows(tmp_path))] == ["a", "b", "c"]


SWARM = {"sui_image_params": {"prompt": "a", "negativeprompt": "b", "seed": 7, "cfgscale": 5.5}}
FOOOCUS = {
    "prompt": "a",
    "negative_prompt": "b",
    "seed": "7",
    "guidance_scale": 5.5,
    "resolution": "(512, 768)",
    "metadata_scheme": "fooocus",
    "styles": "['X']",
}
NOVEL = {"uc": "b", "seed": 7, "steps": 28, "scale": 5.5}
OLD_INVOKE = {"image": {"prompt": [{"prompt": "a [b]"}], "seed": 7, "steps": 28, "cfg_scale": 5.5}}


PROGRAMS: list[tuple[dict[str, str], dict[str, int]]] = [
    ({"parameters": json.dumps(SWARM)}, {}),
    ({"parameters": json.dumps(FOOOCUS)}, {"width": 512, "height": 768}),
    (
        {"invokeai_metadata": json.dumps({**FOOOCUS, "positive_prompt": "a", "cfg_scale": 5.5})},
        {},
    ),
    ({"sd-metadata": json.dumps(OLD_INVOKE)}, {"num_inference_steps": 28}),
    ({"Description": "a", "Comment": json.dumps(NOVEL)}, {"num_inference_steps": 28}),
    (
        {"Dream": '"a "big" [b]" -s 28 -S7 -W 512 -H 768 -C 5.5 -A k_lms'},
        {"num_inference_steps": 28, "width": 512, "height": 768},
    ),
    # SD.Next
    (
        {"parameters": "a\nNegative prompt: b\nSteps: 9, Size: 64x64, Seed: 7, CFG scale: 5.5"},
        {"num_inference_steps": 9, "width": 64, "height": 64},
    ),
    ({"parameters": "{a\nNegative prompt: b\nSteps: 9, Seed: 7, CFG scale: 5.5"}, {}),
]


@pytest.mark.parametrize(("texts", "more"), PROGRAMS)
def test_each_program_is_read(tmp_path: Path, texts: dict[str, str], more: dict[str, int]) -> None:
    save_png(tmp_path / "1.png", **texts)
    (prompt,) = compose(read_rows(tmp_path / "1.png", tell=lambda _: None))
    assert prompt.prompt.lstrip("{").replace(' "big"', "") == "a"
    assert prompt.negative_prompt == "b"
    assert {"seed": 7, "guidance_scale": 5.5, **more}.items() <= prompt.settings.items()


def save_exif(path: Path, tag: int, value: Any, inner: bool = False) -> None:
    exif = Image.Exif()
    (exif.get_ifd(0x8769) if inner else exif)[tag] = value
    Image.new("RGB", (8, 8)).save(path, exif=exif)


@pytest.mark.parametrize("kind", ["jpg", "webp"])
@pytest.mark.parametrize("start", [b"UNICODE\0", b"ASCII\0\0\0", b""])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-8"])
def test_comments_of_exif_are_read(tmp_path: Path, kind: str, start: bytes, encoding: str) -> None:
    if (encoding == "utf-8") == (start == b"UNICODE\0"):
        return
    text = "a café\nSteps: 9, Seed: 7"
    save_exif(tmp_path / f"a.{kind}", 0x9286, start + text.encode(encoding), inner=bool(start))
    assert list(compose(read_rows(tmp_path))) == [said("a café", num_inference_steps=9, seed=7)]


@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_graphs_in_exif_are_read(tmp_path: Path, kind: str) -> None:
    save_exif(tmp_path / f"1.{kind}", 0x0110, "prompt:" + json.dumps(GRAPH))
    comment = json.dumps({"prompt": GRAPH, "workflow": {}})
    save_exif(tmp_path / f"2.{kind}", 0x9286, b"UNICODE\0" + comment.encode("utf-16-be"), True)
    assert [prompt.prompt for prompt in compose(read_rows(tmp_path))] == ["a fox", "a fox"]


def hide(path: Path, text: str, packed: bool) -> None:
    """Save a picture with a text in its alpha, as NovelAI does."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    mark = b"stealth_pngcomp" if packed else b"stealth_pnginfo"
    bits = np.unpackbits(np.frombuffer(mark + (8 * len(data)).to_bytes(4, "big") + data, np.uint8))
    alpha = np.full(64 * 64, 254, np.uint8)
    alpha[: len(bits)] |= bits
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 3] = alpha.reshape(64, 64).T
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("packed", [True, False])
def test_texts_in_the_alpha_are_read(tmp_path: Path, packed: bool) -> None:
    novel = {"Description": "a", "Software": "NovelAI", "Comment": json.dumps(NOVEL)}
    hide(tmp_path / "1.png", json.dumps(novel), packed)
    hide(tmp_path / "2.png", "a\nNegative prompt: b\nSteps: 28, Seed: 7, CFG scale: 5.5", packed)
    expected = said("a", "b", seed=7, num_inference_steps=28, guidance_scale=5.5)
    assert list(compose(read_rows(tmp_path))) == [expected] * 2


def test_damaged_text_in_the_alpha_is_named(tmp_path: Path) -> None:
    hide(tmp_path / "1.png", "a", packed=True)
    with Image.open(tmp_path / "1.png") as image:
        pixels = np.asarray(image).copy()
    pixels[40:56, 3, 3] ^= 1  # within what is packed
    Image.fromarray(pixels).save(tmp_path / "1.png")
    with pytest.raises(InvalidPrompts, match=r"1\.png"):
        list(read_rows(tmp_path))


def encode(text: Any) -> dict[str, Any]:
    return {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["9", 0]}}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(positive: Any, **nodes: Any) -> dict[str, Any]:
    """A stock graph whose positive prompt is of a link."""
    return {
        "save": node("SaveImage", images=["decode", 0], filename_prefix="ComfyUI"),
        "decode": node("VAEDecode", samples=["k", 0], vae=["9", 2]),
        "k": node(
            "KSampler",
            seed=7,
            steps=9,
            cfg=5.5,
            model=["9", 0],
            latent_image=["latent", 0],
            positive=positive,
            negative=["dim", 0],
        ),
        "latent": node("EmptyLatentImage", width=512, height=["side", 0], batch_size=1),
        "side": node("PrimitiveInt", value=768),
        "dim": encode("dim"),
        "9": node("CheckpointLoaderSimple", ckpt_name="x"),
        **nodes,
    }


FOX, MOON = encode("a fox"), encode("a moon")
SECOND = node("KSampler", seed=8, steps=4, latent_image=["k", 0], negative=["dim", 0])
GUIDED = {
    "decode": node("VAEDecode", samples=["custom", 0]),
    "custom": node(
        "SamplerCustomAdvanced",
        noise=["noise", 0],
        guider=["guider", 0],
        sigmas=["sigmas", 0],
        latent_image=["latent", 0],
        sampler=["x", 0],
    ),
    "noise": node("RandomNoise", noise_seed=7),
    "guider": node("CFGGuider", cfg=5.5, positive=["fox", 0], negative=["dim", 0]),
    "sigmas": node("BasicScheduler", steps=9, denoise=1),
    "fox": FOX,
}

READ: dict[str, dict[str, Any]] = {
    "plain": graph(["a", 0], a=FOX),
    "sdxl": graph(["a", 0], a=node("CLIPTextEncodeSDXL", text_g="a fox", text_l="a fox")),
    "one encoder": graph(["a", 0], a=node("CLIPTextEncodeSDXL", text_g="a fox", text_l="")),
    "primitive": graph(["a", 0], a=encode(["b", 0]), b=node("PrimitiveString", value="a fox")),
    "joined": graph(
        ["a", 0],
        a=encode(["b", 0]),
        b=node("StringConcatenate", string_a="a", string_b=["c", 0], delimiter=" "),
        c=node("PrimitiveStringMultiline", value="fox"),
    ),
    "shown": graph(
        ["a", 0],
        a=encode(["b", 0]),
        b=node("ShowText|pysssss", text=["c", 0], text_0="old"),
        c=node("Text Multiline", text="a fox"),
    ),
    "switch": graph(
        ["a", 0],
        a=encode(["b", 0]),
        b=node("ComfySwitchNode", switch=["c", 0], on_false="a moon", on_true="a fox"),
        c=node("PrimitiveBoolean", value=True),
    ),
    "numbered switch": graph(
        ["a", 0], a=node("ImpactSwitch", select=2, input1=["m", 0], input2=["f", 0]), m=MOON, f=FOX
    ),
    "controlnet": graph(
        ["a", 0], a=node("ControlNetApplyAdvanced", positive=["f", 0], negative=["dim", 0]), f=FOX
    ),
    "control net, crossed": graph(
        ["a", 1], a=node("ControlNetApplyAdvanced", positive=["dim", 0], negative=["f", 0]), f=FOX
    ),
    "efficient": graph(["a", 1], a=node("Efficient Loader", positive="a fox", negative="dim")),
    "efficient, linked": graph(
        ["a", 1],
        a=node("Efficient Loader", ckpt_name="x", positive=["b", 0], negative="dim"),
        b=node("PrimitiveString", value="a fox"),
    ),
    "zero": graph(["f", 0], f=FOX) | {"dim": node("ConditioningZeroOut", conditioning=["f", 0])},
    "same twice": graph(
        ["a", 0],
        a=node("ConditioningCombine", conditioning_1=["f", 0], conditioning_2=["g", 0]),
        f=FOX,
        g=FOX,
    ),
    "guider": graph(["fox", 0], **GUIDED),
    "second sampler": graph(
        ["f", 0],
        f=FOX,
        two={**SECOND, "inputs": {**SECOND["inputs"], "positive": ["f", 0]}},
        decode=node("VAEDecode", samples=["up", 0]),
        up=node("LatentUpscale", samples=["two", 0]),
    ),
    "subgraph": graph(["1:2", 0], **{"1:2": FOX}),
    "sampler that leads nowhere": graph(
        ["f", 0], f=FOX, m=MOON, two=node("KSampler", seed=1, positive=["m", 0], negative=["m", 0])
    ),
    "preview of another": graph(
        ["f", 0],
        f=FOX,
        m=MOON,
        two=node("KSampler", seed=1, positive=["m", 0], negative=["m", 0]),
        look=node("PreviewImage", images=["two", 0]),
    ),
    "other file's": graph(
        ["f", 0],
        f=FOX,
        m=MOON,
        two=node("KSampler", seed=1, positive=["m", 0], negative=["m", 0]),
        other=node("SaveImage", images=["two", 0], filename_prefix="other/moon"),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_graphs_are_followed_to_their_text(tmp_path: Path, name: str) -> None:
    save_png(tmp_path / "ComfyUI_00001_.png", prompt=json.dumps(READ[name]))
    (prompt,) = compose(read_rows(tmp_path))
    settings = {"seed": 7, "num_inference_steps": 9, "guidance_scale": 5.5}
    assert prompt == said(
        "a fox", "" if name == "zero" else "dim", **settings, width=512, height=768
    )


def test_joined_conditionings_are_parts_of_one_prompt(tmp_path: Path) -> None:
    joined = node("ConditioningConcat", conditioning_to=["f", 0], conditioning_from=["m", 0])
    save_png(tmp_path / "1.png", prompt=json.dumps(graph(["a", 0], a=joined, f=FOX, m=MOON)))
    (prompt,) = compose(read_rows(tmp_path))
    assert prompt.prompt == "a fox BREAK a moon"


REFUSED = {
    "combine": (
        graph(
            ["a", 0],
            a=node("ConditioningCombine", conditioning_1=["f", 0], conditioning_2=["m", 0]),
            f=FOX,
            m=MOON,
        ),
        "2 prompts, joined at ConditioningCombine (node a)",
    ),
    "text of a part": (
        graph(["a", 0], a=node("GLIGENTextBoxApply", conditioning_to=["f", 0], text="b"), f=FOX),
        "a second text, of a part of the picture, at GLIGENTextBoxApply (node a)",
    ),
    "two encoders": (
        graph(["a", 0], a=node("CLIPTextEncodeSDXL", text_g="a", text_l="b")),
        "one for each text encoder",
    ),
    "unknown text": (
        graph(["a", 0], a=encode(["b", 0]), b=node("Teller", text="a", temperature=1)),
        "a text behind Teller (node b), which is not known",
    ),
    "unknown conditioning": (graph(["a", 0], a=node("Teller", x=1)), "a prompt behind Teller"),
    "unknown switch": (
        graph(["a", 0], a=node("Switch", switch=["b", 0], on_true=["f", 0]), f=FOX),
        "a switch that does not say how it stands",
    ),
    "later prompt": (
        graph(
            ["f", 0],
            f=FOX,
            m=MOON,
            two={**SECOND, "inputs": {**SECOND["inputs"], "positive": ["m", 0]}},
            decode=node("VAEDecode", samples=["two", 0]),
        ),
        "different prompts at KSampler (node two) and KSampler (node k)",
    ),
    "two files": (
        graph(
            ["f", 0],
            f=FOX,
            m=MOON,
            two=node("KSampler", seed=1, positive=["m", 0], negative=["dim", 0]),
            other=node("SaveImage", images=["two", 0], filename_prefix="ComfyUI"),
        ),
        "images of different prompts",
    ),
    "no sampler": ({"1": node("SaveImage", images=["2", 0])}, "without a sampler"),
    "circle": (graph(["a", 0], a=node("X", conditioning=["a", 0])), "in a circle"),
    "nothing": (graph(["nowhere", 0]), "a link that leads to no node"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_half_a_prompt_is_never_taken(tmp_path: Path, name: str) -> None:
    made, reason = REFUSED[name]
    save_png(tmp_path / "ComfyUI_00001_.png", prompt=json.dumps(made))
    with pytest.raises(InvalidPrompts) as caught:
        list(read_rows(tmp_path))
    assert "ComfyUI_00001_.png with" in caught.value.got
    assert reason in caught.value.got


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def read_any(path: Path) -> bool:
    """Whether it says a prompt."""
    try:
        for prompt in compose(read_rows(path, tell=lambda _: None)):
            prompt.prompt.encode()
            hash(prompt)
    except BatchSDXLError as error:
        assert error.action
        return False
    return True


NAMES = (
    *("prompt", "negative_prompt", "seed", "steps", "cfg", "cfg_scale", "width", "image", "uc"),
    *("sui_image_params", "positive_prompt", "caption", "v4_prompt", "resolution", "styles"),
    *("class_type", "inputs", "positive", "negative", "text", "text_g", "text_l", "guider"),
    *("conditioning", "conditioning_to", "select", "input1", "switch", "on_true", "any_1"),
    *("images", "samples", "latent_image", "filename_prefix", "1", "2", "populated_text"),
)
WHOLE: list[dict[str, str]] = [
    *({"prompt": json.dumps(one)} for one in READ.values()),
    *({"prompt": json.dumps(one)} for one, _ in REFUSED.values()),
    *(texts for texts, _ in PROGRAMS),
    {"parameters": PARAMETERS},
    {"parameters": json.dumps({"prompt": GRAPH, "workflow": {}})},
    {"batch_sdxl": make_record(image="in.png").to_json()},
]


def broken_texts(draw: random.Random) -> dict[str, str]:
    """The texts of a picture: of one that can be read, with something wrong in them."""
    texts = dict(draw.choice(WHOLE))
    name = draw.choice(list(texts))
    try:
        texts[name] = json.dumps(broken(json.loads(texts[name]), draw, NAMES))
    except ValueError:
        at = draw.randrange(len(texts[name]))
        odd = draw.choice(("\n", ":", '"', "{", "Steps: ", "Negative prompt: ", "\0", "💥", ", "))
        texts[name] = texts[name][:at] + odd + texts[name][at + draw.choice((0, 1, 20)) :]
    if draw.random() < 0.1:
        texts[draw.choice(("prompt", "parameters", "workflow", "Comment"))] = texts.pop(name)
    return texts


RELAXED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize("count", [300, pytest.param(50_000, marks=pytest.mark.slow)])
def test_no_text_of_a_picture_gets_past_the_error_tree(tmp_path: Path, count: int) -> None:
    read = 0
    for number in range(count):
        texts = broken_texts(random.Random(number))
        try:
            read += read_any(save_png(tmp_path / "fuzz.png", **texts))
        except Exception as error:
            error.add_note(f"picture {number}: {texts}")
            raise
    # Neither all broken nor all whole: else it tests little.
    assert count / 20 < read < count * 0.9


@settings(max_examples=200, **RELAXED)
@given(st.binary(max_size=200), st.sampled_from(["jpg", "webp", "png"]))
def test_no_exif_gets_past_the_error_tree(scratch: Path, content: bytes, kind: str) -> None:
    path = scratch / f"exif.{kind}"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\0\0" + content)
    read_any(path)


def test_what_pictures_say_beside_the_prompt_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    hires = 'a\nSteps: 5, Seed: 7, Hires prompt: "b, c"'
    save_png(tmp_path / "1.png", parameters=hires)
    save_png(tmp_path / "2.png", Comment=json.dumps({**NOVEL, "prompt": "1.5::a::"}))
    assert [row.prompt() for row in read_rows(tmp_path, tell=told.append)] == ["a", "1.5::a::"]
    assert told == [
        '1.png: the Hires prompt of a second pass is left out: "b, c"',
        "2.png: braces, brackets, :: and | of NovelAI, which are weights there, stay as they are",
    ]


def test_settings_of_pictures_that_count_otherwise_elsewhere() -> None:
    said = parameters_fields(
        "a cat\nSteps: 20, Seed: 5, Clip skip: 3, CFG Rescale phi: 0.7, Variation seed: 9, "
        "Variation seed strength: 0.2"
    )
    assert said["clip_skip"] == 1
    assert (said["guidance_rescale"], said["variation_seed"]) == ("0.7", "9")
