import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, Geometry, Model, SizedRequest, SourceImage, load_model
from batch_sdxl.core.models.contents import Contents
from batch_sdxl.core.models.digest import digest_files
from batch_sdxl.core.numerics import fingerprint
from batch_sdxl.core.request.identity import identity
from PIL import Image

NUMERICS = {"device": "cpu", "rows": 8}
BASE: dict[str, Any] = {
    "prompt": "a",
    "seed": 1,
    "width": 64,
    "height": 64,
    "empty_negative": "empty",
}


def name(numerics: dict[str, Any] = NUMERICS, model: str = "m", **changes: Any) -> str:
    return identity(SizedRequest(**BASE | changes), model, numerics)


def test_the_identity_of_a_request_never_changes() -> None:
    """A new value here means that the version of the canonical form has to rise."""
    assert name() == "08af76e538795c9a9ad23d0ee3980e993aa00164ccb277e2ae824b2a7ecbcd74"


def test_the_identity_is_of_the_form_that_is_documented() -> None:
    form = (
        '{"model":"m","numerics":{"device":"cpu","rows":8},"version":2}\n'
        '{"request":{"guidance_scale":7.0,"height":64,"negative_prompt":"",'
        '"num_inference_steps":20,"prompt":"a","scheduler":"euler","seed":1,"width":64}}'
    )
    assert name() == hashlib.sha256(form.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "b"},
        {"seed": 2},
        {"negative_prompt": "b"},
        {"empty_negative": "zeros"},
        {"width": 72},
        {"num_inference_steps": 21},
        {"guidance_scale": 7.1},
        {"guidance_scale": 1.0},
        {"scheduler": "euler:normal"},
        {"image": Image.new("RGB", (64, 64))},
        {"model": "n"},
        {"numerics": NUMERICS | {"rows": 4}},
    ],
)
def test_whatever_the_bits_depend_on_is_part_of_it(changes: dict[str, Any]) -> None:
    assert name(**changes) != name()


def test_what_makes_no_difference_is_not() -> None:
    assert name(strength=0.2) == name()
    assert name(guidance_scale=7) == name(guidance_scale=7.0)
    off = name(guidance_scale=1.0)
    assert name(guidance_scale=0.0, negative_prompt="unused") == off
    source = SourceImage.of(Image.new("RGB", (64, 64), "red"), "a.png")
    renamed = SourceImage.of(Image.new("RGB", (64, 64), "red"), "b.png")
    assert name(image=source) == name(image=renamed)
    assert name(image=source, strength=0.2) != name(image=source)


def test_the_digest_of_a_model_is_its_content(
    tiny: Model, tiny_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    assert load_model(copy, device="cpu").digest == tiny.digest
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_model(copy, device="cpu").digest != tiny.digest


def test_the_digest_of_one_file_is_the_one_that_others_compute(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    one = Contents(file, (file,))
    assert one.digest == hashlib.sha256(b"weights").hexdigest()
    changed = one.changed("vae 0")
    assert changed.digest != one.digest == changed.files_digest
    assert Contents(tmp_path, (file,)).digest != one.digest


def test_digests_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    status = file.stat()
    first = digest_files(tmp_path, [file])
    # Remembered beside other content, so that it shows whether the memory was asked.
    memory = tmp_path / "cache" / "batch-sdxl" / "digests.json"
    known = json.loads(memory.read_text())
    known[str(file)][-1] = "0" * 64
    memory.write_text(json.dumps(known))
    assert digest_files(tmp_path, [file]) != first
    time.sleep(0.02)  # two ticks of the clock of a file system
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = digest_files(tmp_path, [file])
    assert (
        second
        == hashlib.sha256(f"{hashlib.sha256(b'two').hexdigest()}  weights".encode()).hexdigest()
    )
    # Another file in its place, of the same size and time.
    other = tmp_path / "other"
    other.write_bytes(b"six")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert digest_files(tmp_path, [file]) != second


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}'])
def test_a_damaged_memory_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "batch-sdxl").mkdir()
    (tmp_path / "batch-sdxl" / "digests.json").write_text(content)
    (tmp_path / "weights").touch()
    assert len(digest_files(tmp_path, [tmp_path / "weights"])) == 64


def test_the_fingerprint_tells_numerics_apart(tiny: Model, tiny_folder: Path) -> None:
    half = load_model(tiny_folder, device="cpu", dtype="bf16")
    one = fingerprint(tiny.device, tiny.dtype, tiny.vae.dtype, Geometry(8), "sdpa")
    other = fingerprint(half.device, half.dtype, half.vae.dtype, Geometry(4), "sdpa")
    assert {key for key in one if one[key] != other[key]} == {"dtype", "vae_dtype", "rows"}
    assert one["threads"] == torch.get_num_threads()
    assert one["torch"] == torch.__version__


def test_the_geometry_follows_the_size(tiny: Model) -> None:
    engine = Engine(tiny)
    assert engine.geometry_of(64, 64) == Geometry(32)
    assert engine.geometry_of(512, 512) == Geometry(8)
    assert engine.geometry_of(1024, 1024) == Geometry(4)
    assert engine.geometry_of(2048, 2048) == Geometry(2)
    assert Engine(tiny, geometry=Geometry(12)).geometry_of(64, 64) == Geometry(12)
