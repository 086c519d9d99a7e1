"""`verify` and `reproduce`: what a file says is enough to make its image again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import (
    Engine,
    Geometry,
    ImageRequest,
    Model,
    SizedRequest,
    SourceImage,
    apply_lora,
    load_model,
    reproduce,
    verify,
    with_inversions,
)
from batch_sdxl.core import save as save_image
from batch_sdxl.core.errors import ModelNotFound, OutOfMemory, OutputError
from batch_sdxl.core.finder import Finder, Here
from batch_sdxl.core.models.vae import own_vae_contents
from batch_sdxl.core.prompts.prompt import Prompt
from batch_sdxl.core.replay import _check_memory
from batch_sdxl.core.request.parameters import parameters
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.saving.image_file import png_texts, read_record
from batch_sdxl.core.saving.writer import save_png
from batch_sdxl.headless.cli.bar import Bar
from batch_sdxl.headless.cli.host import HeadlessHost
from batch_sdxl.headless.cli.main import main
from batch_sdxl.host import host
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from safetensors.torch import load_file, save_file

Save = Callable[..., Path]


@pytest.fixture
def save(
    engine: Engine, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Save:
    """Makes an image and saves it as the node does; the model is found by its name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, tmp_path / tiny_folder.name)

    def make(folder: str = "out", **fields: object) -> Path:
        defaults = {"prompt": "a red circle, big", "seed": 2**64 - 1, "num_inference_steps": 2}
        (image,) = engine.generate([ImageRequest(**defaults | fields)])  # type: ignore[arg-type]
        record = engine.describe(image.request)
        return save_png(tmp_path / folder, "x_*_y", image.pixels, png_texts(record, {}))

    return make


def test_images_made_again_are_identical(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    save(negative_prompt="dim", guidance_scale=5.5)
    save(scheduler="dpmpp_2m_sde:karras", width=80)
    save(guidance_scale=1.0)
    assert main(["verify", "out"]) == 0
    out = capsys.readouterr().out
    assert out.count("identical  ") == 3
    assert out.endswith("3 of 3 identical\n")


def test_a_changed_pixel_is_found(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    file = save()
    record = read_record(file)
    pixels = np.asarray(Image.open(file)).copy()
    pixels[3, 4, 1] ^= 5
    changed = save_png(file.parent, "changed_*", pixels, png_texts(record, {}))
    assert main(["verify", str(file), str(changed)]) == 1
    out = capsys.readouterr().out
    assert "1 of 4,096 pixels differ" in out
    assert out.endswith("1 of 2 identical\n")


def save_as(kind: str, images: list[Any], row: Record, folder: Path) -> Path:
    """What Save Image Batch writes."""
    with host.use(HeadlessHost([], folder, Bar(Console(stderr=True)))):
        node = NODE_CLASS_MAPPINGS["BatchSDXL_SaveImageBatch"]()
        saved = node.run(images=images, rows=[[row]], filename_prefix=["x"], format=[kind])
    return Path(saved["result"][0][0])


@pytest.mark.parametrize("kind", ["png", "png 16 bit", "webp lossless"])
@pytest.mark.parametrize("unrounded", [False, True])
def test_every_format_that_keeps_pixels_can_be_verified(
    tiny: Model, save: Save, tmp_path: Path, kind: str, unrounded: bool
) -> None:
    values: dict[str, Any] = {"width": 0, "height": 0, "steps": 2, "cfg": 7.0, "strength": 0.5}
    values |= {"sampler_name": "euler", "scheduler": "normal", "combine": "zip", "model": tiny}
    values |= {"prompts": (Prompt("a"),), "seeds": (1,), "unrounded": unrounded}
    generate = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]()
    images, (row,), _ = generate.run(**{name: [value] for name, value in values.items()})
    assert main(["verify", str(save_as(kind, images, row, tmp_path / "out"))]) == 0


def test_files_that_change_pixels_are_named(
    engine: Engine, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (image,) = engine.generate([ImageRequest(prompt="a", seed=1, num_inference_steps=1)])
    row = engine.describe(image.request)
    file = save_as("jpeg", [image.decoded.unsqueeze(0)], row, tmp_path / "out")
    assert main(["verify", str(file)]) == 2
    assert "a file that keeps every pixel" in capsys.readouterr().out


def test_other_numerics_are_named(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    file = save()
    record = read_record(file)
    record = replace(
        record,
        numerics={**record.numerics, "torch": "1.0"},
        model=replace(record.model, digest="0" * 64),
    )
    pixels = np.asarray(Image.open(file))
    other = save_png(file.parent, "other_*", pixels, png_texts(record, {}))
    assert main(["verify", str(other)]) == 0
    out = capsys.readouterr().out
    assert "not as it was: torch: 1.0 there, " in out
    assert "not as it was: model: 0000000000 there, " in out


def test_weights_beside_the_image_are_found_where_the_program_refuses_their_name(
    tmp_path: Path,
) -> None:
    class Refusing(Here):
        def file_path(self, kind: str, name: str) -> Path:
            raise ModelNotFound("a file of its folders", name, "Put it there.")

    (tmp_path / "a.safetensors").write_bytes(b"x")
    finder = Finder([], Refusing())
    found = finder.weights("loras", "a.safetensors", "0" * 64, tmp_path, lambda _: "0" * 64)
    assert found == tmp_path / "a.safetensors"


def test_identity_that_is_not_of_its_record_is_named(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    record = replace(read_record(file), identity="0" * 64)
    other = save_png(file.parent, "other_*", np.asarray(Image.open(file)), png_texts(record, {}))
    assert main(["verify", str(other)]) == 0
    assert "not as it was: identity: 0000000000 there, " in capsys.readouterr().out


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_input_images_are_found_by_name_and_pixels(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: str
) -> None:
    from batch_sdxl.core.images.source import read_image

    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "so[urce].png"
    Image.effect_noise((60, 80), 90).convert("RGB").save(path)
    file = save(image=read_image(path, (64, 64), fit), strength=0.7, num_inference_steps=3)
    assert main(["verify", str(file)]) == 0
    path.rename(tmp_path / "elsewhere.png")
    assert main(["verify", str(file)]) == 2
    assert "the input image so[urce].png" in capsys.readouterr().out
    Image.new("RGB", (64, 64)).save(path)
    assert main(["verify", str(file)]) == 2
    assert "1 of that name with other pixels" in capsys.readouterr().out


def test_a_missing_model_is_named(
    save: Save, tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    shutil.rmtree(tmp_path / tiny_folder.name)
    assert main(["verify", str(file)]) == 2
    assert tiny_folder.name in capsys.readouterr().out
    assert main(["verify", str(file), "--model", str(tiny_folder)]) == 0


class Embeddings(host.Host):
    """One with a folder of textual inversions, as ComfyUI has."""

    def file_path(self, kind: str, name: str) -> Path:
        return Path.cwd() / kind / name if kind == "embeddings" else Path(name)


@pytest.fixture
def changed(save: Save, tmp_path: Path, tiny_folder: Path) -> Path:
    """An image of a model with everything that can be changed about it, in `out`."""
    torch.manual_seed(0)
    for folder in ("out", "loras", "embeddings/style"):
        (tmp_path / folder).mkdir(parents=True)
    vae = Path(shutil.copytree(tiny_folder / "vae", tmp_path / "out" / "fixed-vae"))
    weights = load_file(vae / "diffusion_pytorch_model.safetensors")
    weights["decoder.conv_out.bias"] += 0.1
    save_file(weights, vae / "diffusion_pytorch_model.safetensors")
    lora = tmp_path / "loras" / "style.safetensors"
    write_lora(lora, 1.0)
    word = tmp_path / "embeddings" / "style" / "red.safetensors"
    save_file({name: torch.randn(2, 32) for name in ("clip_l", "clip_g")}, word)
    model = load_model(
        tiny_folder.name,
        device="cpu",
        dtype="fp32",
        vae=vae,
        prediction_type="v_prediction",
        zero_terminal_snr=True,
    )
    model = with_inversions(apply_lora(model, lora, 0.5, 0.0), {"style/red": word})
    engine = Engine(model)
    request = ImageRequest(prompt="a embedding:style/red", seed=1, num_inference_steps=2)
    (image,) = engine.generate([request])
    record = engine.describe(image.request)
    return save_png(tmp_path / "out", "x_*", image.pixels, png_texts(record, {}))


def write_lora(path: Path, value: float) -> None:
    down = torch.full((1, 4, 3, 3), value)
    name = "lora_unet_conv_in"
    save_file(
        {f"{name}.lora_up.weight": torch.ones(32, 1, 1, 1), f"{name}.lora_down.weight": down}, path
    )


def test_a_changed_model_is_put_together_again(
    changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With files found beside the image, in a folder below this one, and in the host's."""
    write_lora(tmp_path / "out" / "style.safetensors", 3.0)  # another one of that name
    with host.use(Embeddings()):
        assert main(["verify", str(changed)]) == 0
        assert "not as it was" not in capsys.readouterr().out
        assert main(["reproduce", str(changed), "--set", "seed=2"]) == 0
        again = Path(capsys.readouterr().out.strip())
        record = read_record(again)
        assert record.request.seed == 2
        assert record.model.noise == {"prediction_type": "v_prediction", "zero_terminal_snr": True}
        assert record.model.vae is not None
        assert record.model.vae.name == "fixed-vae"
        assert record.model == read_record(changed).model
        shutil.move(tmp_path / "out" / "fixed-vae", again.parent)
        assert main(["verify", str(again)]) == 0


def test_what_a_model_was_changed_by_is_named_if_it_is_another(
    changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = tmp_path / "loras" / "style.safetensors"
    with host.use(Embeddings()):
        write_lora(lora, 2.0)
        word = tmp_path / "embeddings" / "style" / "red.safetensors"
        save_file({name: torch.zeros(2, 32) for name in ("clip_l", "clip_g")}, word)
        assert main(["verify", str(changed)]) == 1
        out = capsys.readouterr().out
        assert "not as it was: lora style: " in out
        assert "not as it was: embedding style/red: " in out
        assert "pixels differ" in out
        for path in (word, lora, changed.with_name("fixed-vae")):
            path.rename(tmp_path / f"no-{path.name}")
            assert main(["verify", str(changed)]) == 2
            out = capsys.readouterr().out
            assert out.startswith("not checked")
            assert f"{path.name}, with which" in out


def test_a_file_downloads_no_model(
    save: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anyone can write a name into one."""
    file = save()
    record = read_record(file)
    record = replace(record, model=replace(record.model, name="some-one/sdxl"))
    other = save_png(file.parent, "other_*", np.asarray(Image.open(file)), png_texts(record, {}))
    asked: list[str] = []

    def refuse(name: str, **settings: Any) -> Path:
        asked.append(name)
        raise ModelNotFound("a", "b", "c")

    monkeypatch.setattr("batch_sdxl.core.models.load.fetch_model", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(file.parent / "none"))
    assert main(["verify", str(other)]) == 2
    assert "--model some-one/sdxl" in capsys.readouterr().out
    assert not asked
    assert main(["verify", str(other), "--model", "some-one/sdxl"]) == 2
    assert asked == ["some-one/sdxl"]


def test_files_without_a_record_are_named_and_the_others_checked(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    Image.new("RGB", (8, 8)).save(file.parent / "a.png")
    (file.parent / "b.png").write_text("no image")
    record = read_record(file)
    garbled: list[dict[str, Any]] = [{"model": {"loras": [{}]}}, {"inversions": [1]}]
    garbled += [{"request": "x"}, {"x": 1}]
    texts = [json.dumps(record.to_plain() | change) for change in garbled]
    for text in ("{}", "[]", "7", '{"version": 1, "model": 3, "numerics": 4}', "{", *texts):
        info = png_texts(read_record(file), {})
        info.chunks.clear()
        info.add_text("batch_sdxl", text)
        save_png(file.parent, "z_*", np.zeros((8, 8, 3), np.uint8), info)
    assert main(["verify", str(file.parent)]) == 2
    out = capsys.readouterr().out
    assert out.endswith("1 of 11 identical, 10 not checked, 1 not ours\n")


#: What someone writes into a record: value by place, and what is said of it.
HOSTILE = [
    ("request.num_inference_steps", 10**6, "a number of steps"),
    ("request.width", 65536, "a width"),
    ("request.width", 128, "an image of the 128 x 64 pixels"),
    ("request.image", {"name": "a.png#99999", "sha256": "0" * 64}, "the input image a.png"),
    ("request.image", {"name": "\0", "sha256": "0" * 64}, "the input image"),
    ("request.image", {"name": "..", "sha256": "0" * 64}, "the input image"),
    ("numerics.rows", 10**9, "rows of one UNet call"),
    ("numerics.threads", 4096, "as many CPU threads"),
    ("numerics.threads", -1, "a number of threads"),
    ("numerics.dtype", "load", "a dtype"),
    ("model.name", "../../etc/passwd", "the model that made the image"),
    ("model.name", "n" * 300, "the name of a model"),
    ("model.noise", {"prediction_type": "x"}, "a prediction type"),
    ("model.vae", {"name": "none", "sha256": "0" * 64}, "none, with which the image was made"),
]


def test_hostile_records_are_told_and_the_others_checked(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    threads = torch.get_num_threads()
    for number, (place, value, _) in enumerate(HOSTILE):
        plain = read_record(file).to_plain()
        *path, last = place.split(".")
        inner = plain
        for name in path:
            inner = inner[name]
        inner[last] = value
        info = PngInfo()
        info.add_text("batch_sdxl", json.dumps(plain))
        Image.open(file).save(file.with_name(f"b{number:02}.png"), pnginfo=info)
    shutil.copy(file, file.with_name("z.png"))
    assert main(["verify", str(file.parent)]) == 2
    out = capsys.readouterr().out
    assert out.endswith(f"2 of {len(HOSTILE) + 2} identical, {len(HOSTILE)} not checked\n")
    for number, (_, _, part) in enumerate(HOSTILE):
        told = out.partition(f"b{number:02}.png\n")[2].partition("\n")[0]
        assert part in told, told
    assert torch.get_num_threads() == threads


def test_calls_that_no_machine_has_room_for_are_not_tried(tiny: Model) -> None:
    engine = Engine(tiny, geometry=Geometry(256))
    request = SizedRequest(prompt="a", seed=1, width=16384, height=16384)
    with pytest.raises(OutOfMemory, match="GB for calls of the rows"):
        _check_memory(engine, request)


def test_what_is_not_ours_is_no_fault_of_a_folder(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    sheet = file.with_name("sheet.png")
    Image.new("RGB", (8, 8)).save(sheet)
    assert main(["verify", str(file.parent)]) == 0
    out = capsys.readouterr().out
    assert f"not ours     {sheet}\n" in out
    assert out.endswith("1 of 1 identical, 1 not ours\n")
    assert main(["verify", str(file), str(sheet)]) == 2
    file.unlink()
    assert main(["verify", str(file.parent)]) == 2
    assert main(["verify", str(file)]) == 2


def test_a_difference_counts_more_than_what_is_not_checked(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    other = save_png(
        file.parent, "o_*", np.zeros((64, 64, 3), np.uint8), png_texts(read_record(file), {})
    )
    assert main(["verify", str(file.with_name("none.png")), str(other), str(file)]) == 1
    assert capsys.readouterr().out.endswith("1 of 3 identical, 1 not checked\n")


def test_files_of_pythons_save_are_identical(
    engine: Engine, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As README's example writes them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, tmp_path / tiny_folder.name)
    requests = [ImageRequest(prompt="a", seed=s, num_inference_steps=2) for s in (1, 2)]
    files = [save_image(i, f"circle_{i.request.seed}.png") for i in engine.generate(requests)]
    assert main(["verify", *map(str, files)]) == 0
    assert verify("circle_1.png").identical
    again = reproduce("circle_1.png", seed=2)
    assert again.record == read_record(Path("circle_2.png"))
    with Image.open("circle_1.png") as image:
        assert image.info["parameters"].startswith("a\nSteps: 2, Sampler: Euler, ")
    with pytest.raises(OutputError, match=r"ends in \.png"):
        save_image(again, "x.jpg")
    with pytest.raises(OutputError, match="to write an image"):
        save_image(again, "no/folder/x.png")


def test_an_image_is_reproduced_with_changes(
    save: Save, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save()
    command = ["reproduce", str(file), "--set", "prompt=a red circle = big, small", "--json"]
    assert main([*command, "--set", "steps=3", "--set", "cfg=4"]) == 0
    answer = json.loads(capsys.readouterr().out)
    request = ImageRequest(
        prompt="a red circle = big, small",
        seed=2**64 - 1,
        num_inference_steps=3,
        guidance_scale=4.0,
    )
    (expected,) = engine.generate([request])
    assert np.array_equal(np.asarray(Image.open(answer["file"])), expected.pixels)
    assert read_record(Path(answer["file"])) == engine.describe(expected.request) == expected.record
    assert answer["row"] == expected.record.to_plain()
    assert main(["verify", answer["file"]]) == 0


@pytest.mark.parametrize(
    ("change", "scheduler"),
    [("sampler_name=heun", "heun"), ("scheduler=karras", "euler:karras"), ("scheduler=lms", "lms")],
)
def test_sampler_and_spacing_change_on_their_own(
    save: Save, capsys: pytest.CaptureFixture[str], change: str, scheduler: str
) -> None:
    assert main(["reproduce", str(save()), "--json", "--set", change]) == 0
    assert json.loads(capsys.readouterr().out)["row"]["request"]["scheduler"] == scheduler


@pytest.mark.parametrize("change", ["nope=1", "steps=many", "steps=0", "steps", "image=x"])
def test_changes_that_cannot_be_made_are_refused(
    save: Save, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    assert main(["reproduce", str(save()), "--set", change]) == 1
    assert "Expected: " in capsys.readouterr().err


@pytest.mark.parametrize("again", ["cfg=5", "guidance_scale=5"])
def test_a_setting_changed_twice_is_refused(
    save: Save, capsys: pytest.CaptureFixture[str], again: str
) -> None:
    assert main(["reproduce", str(save()), "--set", "cfg=4", "--set", again]) == 1
    assert "Expected: one value of " in capsys.readouterr().err


def test_parameters_read_as_in_other_tools(engine: Engine) -> None:
    request = SizedRequest(
        prompt="a red circle",
        negative_prompt="dim: really",
        seed=2**53 + 1,
        width=64,
        height=64,
        guidance_scale=5.5,
        scheduler="dpmpp_2m:karras",
        image=SourceImage.of(Image.new("RGB", (64, 64))),
        strength=0.4,
    )
    digest = engine.model.digest[:10]
    assert parameters(engine.describe(request)) == (
        "a red circle\n"
        "Negative prompt: dim: really\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, "
        f"Seed: 9007199254740993, Size: 64x64, Model hash: {digest}, Model: tiny-sdxl, "
        "Denoising strength: 0.4, RNG: CPU"
    )


def test_parameters_name_what_other_tools_look_up(changed: Path, tmp_path: Path) -> None:
    """Hashes of files as Civitai computes them; that of the model is of its own files."""
    record = read_record(changed)
    vae = tmp_path / "out" / "fixed-vae"
    files = ("loras/style.safetensors", "embeddings/style/red.safetensors")
    lora, inversion = (sha256((tmp_path / file).read_bytes()).hexdigest()[:10] for file in files)
    unchanged = load_model("tiny-sdxl", device="cpu", vae=vae).contents.files_digest[:10]
    line = parameters(record).splitlines()[-1]
    assert f"Model hash: {unchanged}, Model: tiny-sdxl, " in line
    assert f"VAE hash: {own_vae_contents(vae).digest[:10]}, VAE: fixed-vae" in line
    assert line.endswith(f', Lora hashes: "style: {lora}", TI hashes: "style/red: {inversion}"')
