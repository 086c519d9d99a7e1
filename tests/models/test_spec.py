"""A spec is plain values, from which the model comes again in any process."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import (
    Engine,
    ImageRequest,
    LoraSpec,
    Model,
    ModelSpec,
    apply_lora,
    load_model,
    with_inversions,
)
from batch_sdxl.core.errors import InvalidRequest, ModelNotFound
from safetensors.torch import save_file

FULL = ModelSpec(
    model="sdxl.safetensors",
    dtype="bf16",
    device="cuda:1",
    vae="vae",
    loras=(LoraSpec("a.safetensors", 0.5), LoraSpec("b.safetensors", -1, 0.25)),
    prediction_type="v_prediction",
    zero_terminal_snr=True,
    offload=True,
    embeddings=(("glow", "glow.safetensors"), ("ash", "ash.safetensors")),
    tokenizer_folders=("tokenizer",),
)


def write_lora(path: Path, model: Model, seed: int) -> Path:
    draw = torch.Generator().manual_seed(seed)
    weight = model.unet.conv_in.weight
    save_file(
        {
            "lora_unet_conv_in.lora_up.weight": torch.randn(len(weight), 2, 1, 1, generator=draw),
            "lora_unet_conv_in.lora_down.weight": torch.randn(2, *weight.shape[1:], generator=draw),
        },
        path,
    )
    return path


def test_a_spec_survives_json_whole() -> None:
    again = ModelSpec.from_json(FULL.to_json())
    assert again == FULL
    assert hash(again) == hash(FULL)
    assert {FULL: 1}[again] == 1
    assert json.loads(FULL.to_json())["embeddings"] == {
        "ash": "ash.safetensors",
        "glow": "glow.safetensors",
    }
    assert ModelSpec.from_json("{}") == ModelSpec()


def test_equal_things_make_equal_specs() -> None:
    given: Any = {"embeddings": {"b": Path("2"), "a": "1"}, "vae": Path("v"), "loras": []}
    assert ModelSpec(**given) == ModelSpec(embeddings=(("a", "1"), ("b", "2")), vae="v")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        '{"model": 1}',
        '{"model": ""}',
        '{"model": "a\\u0000b"}',
        '{"modle": "demo"}',
        '{"dtype": "float32"}',
        '{"dtype": ["fp32"]}',
        '{"device": 0}',
        '{"vae": {}}',
        '{"offload": 1}',
        '{"zero_terminal_snr": 0}',
        '{"prediction_type": "flow"}',
        '{"loras": {}}',
        '{"loras": "a"}',
        '{"loras": [1]}',
        '{"loras": [{}]}',
        '{"loras": [{"path": "a", "weight": NaN}]}',
        '{"loras": [{"path": "a", "weight": null}]}',
        '{"loras": [{"path": "a", "weight": true}]}',
        '{"loras": [{"path": "a", "wait": 1}]}',
        '{"loras": [["a", 1]]}',
        '{"embeddings": {"a": 1}}',
        '{"embeddings": [1]}',
        '{"embeddings": 1}',
        '{"tokenizer_folders": "a"}',
        '{"tokenizer_folders": [1]}',
    ],
)
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ModelSpec.from_json(text)


def test_a_device_that_torch_does_not_know_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="a device"):
        load_model(tiny_folder, device="no such device")


def test_a_model_with_all_of_it_comes_again_from_its_spec_in_a_new_process(
    tiny: Model, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = tmp_path / "glow.safetensors"
    save_file({"clip_l": torch.ones(1, 32), "clip_g": torch.ones(1, 32)}, word)
    first, second = (write_lora(tmp_path / f"{n}.safetensors", tiny, n) for n in (1, 2))
    monkeypatch.chdir(tiny_folder.parent)
    model = load_model(
        tiny_folder.name, device="cpu", vae=Path(tiny_folder.name, "vae"), zero_terminal_snr=True
    )
    model = apply_lora(apply_lora(model, first, 0.5), second, -0.25)
    model = with_inversions(model, {"glow": word})

    code = """
import sys
import numpy as np
from batch_sdxl.core import Engine, ImageRequest, ModelSpec, load_model
spec = ModelSpec.from_json(sys.stdin.read())
model = load_model(spec)
assert model.spec == spec
request = ImageRequest(prompt="embedding:glow", seed=1, num_inference_steps=2)
(image,) = Engine(model).generate([request])
np.save(sys.argv[1], image.decoded.numpy())
print(model.digest)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "image.npy")],
        input=model.spec.to_json(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == model.digest
    request = ImageRequest(prompt="embedding:glow", seed=1, num_inference_steps=2)
    (image,) = Engine(model).generate([request])
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), image.decoded.numpy())


def test_the_order_of_loras_makes_no_difference_to_a_models_spec(
    tiny: Model, tmp_path: Path
) -> None:
    one, other = (write_lora(tmp_path / f"{n}.safetensors", tiny, n) for n in (1, 2))
    there = apply_lora(apply_lora(tiny, one), other)
    back = apply_lora(apply_lora(tiny, other), one)
    assert there.spec == back.spec != tiny.spec
    swapped = replace(there.spec, loras=there.spec.loras[::-1])
    assert load_model(swapped).spec == there.spec
    assert load_model(swapped, loras=()).digest == tiny.digest


def test_a_spec_may_name_what_is_not_there(tiny: Model) -> None:
    with pytest.raises(ModelNotFound, match=r"gone\.safetensors"):
        load_model(tiny.spec, loras=(LoraSpec("gone.safetensors"),))


@pytest.mark.parametrize("change", [lambda s: s, lambda s: replace(s, dtype="auto", device=None)])
def test_a_spec_that_was_loaded_is_settled(
    tiny: Model, change: Callable[[ModelSpec], ModelSpec]
) -> None:
    model = load_model(change(tiny.spec), device="cpu")
    assert (model.spec.dtype, model.spec.device) == ("fp32", "cpu")
    assert Path(model.spec.model).is_absolute()
    assert model.spec == tiny.spec
