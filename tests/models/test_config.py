"""Configurations of a model's folder are data: bounded, and never followed anywhere."""

import json
import math
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, load_model
from batch_sdxl.core.errors import BatchSDXLError, UnsupportedModel
from batch_sdxl.core.models.folder import DiffusersFolder
from batch_sdxl.core.models.spec import DEMO_FOLDER
from batch_sdxl.core.samplers.choice import count_calls

SCHEDULER = "scheduler/scheduler_config.json"
CONFIGS = [
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
    SCHEDULER,
    "model_index.json",
]

Change = Callable[..., None]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO_FOLDER, tmp_path / "demo"))


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


REFUSED: list[tuple[str, dict[str, Any]]] = [
    (SCHEDULER, {"num_train_timesteps": 10**9}),
    (SCHEDULER, {"num_train_timesteps": 0}),
    (SCHEDULER, {"num_train_timesteps": True}),
    (SCHEDULER, {"num_train_timesteps": 1000.0}),
    (SCHEDULER, {"beta_end": math.nan}),
    (SCHEDULER, {"beta_start": -0.1}),
    (SCHEDULER, {"beta_start": 0.5}),
    (SCHEDULER, {"beta_end": 0.5}),
    (SCHEDULER, {"beta_schedule": "cosine"}),
    (SCHEDULER, {"trained_betas": [0.1, math.inf]}),
    (SCHEDULER, {"prediction_type": "sample"}),
    ("vae/config.json", {"scaling_factor": 0}),
    ("vae/config.json", {"scaling_factor": -1}),
    ("vae/config.json", {"scaling_factor": math.nan}),
    ("vae/config.json", {"scaling_factor": math.inf}),
    ("vae/config.json", {"scaling_factor": "0.13"}),
    ("vae/config.json", {"shift_factor": 0.5}),
    ("vae/config.json", {"latents_mean": [1, 2, 3, 4]}),
    ("vae/config.json", {"latent_channels": 16}),
    ("vae/config.json", {"block_out_channels": [10**9] * 4}),
    ("unet/config.json", {"block_out_channels": [48, 96, 10**6]}),
    ("unet/config.json", {"block_out_channels": 48}),
    ("unet/config.json", {"layers_per_block": 10**6}),
    ("unet/config.json", {"transformer_layers_per_block": [1, 1, 10**6]}),
    ("unet/config.json", {"sample_size": 10**9}),
    ("unet/config.json", {"addition_embed_type": "image"}),
    ("unet/config.json", {"act_fn": "os.system"}),
    ("unet/config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ("text_encoder/config.json", {"vocab_size": 10**9}),
    ("text_encoder/config.json", {"num_hidden_layers": 10**6}),
    ("text_encoder/config.json", {"max_position_embeddings": 10}),
    ("text_encoder_2/config.json", {"hidden_act": "relu"}),
    ("text_encoder_2/config.json", {"quantization_config": {}}),
    ("tokenizer/tokenizer_config.json", {"model_max_length": 10**9}),
    ("tokenizer/tokenizer_config.json", {"pad_token": {"content": ["!"]}}),
]


@pytest.mark.parametrize(("file", "values"), REFUSED)
def test_a_value_out_of_its_bounds_is_refused_by_its_name(
    demo: Path, file: str, values: dict[str, Any]
) -> None:
    change(demo, file, **values)
    with pytest.raises(UnsupportedModel) as caught:
        load_model(demo, device="cpu")
    (key,) = values
    assert key in str(caught.value)
    assert str(demo / file) in caught.value.got


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("unet/config.json", "block_out_channels"),
        ("unet/config.json", "addition_embed_type"),
        ("vae/config.json", "scaling_factor"),
    ],
)
def test_what_sdxl_needs_must_be_said(demo: Path, file: str, key: str) -> None:
    path = demo / file
    said = json.loads(path.read_text("utf-8"))
    del said[key]
    path.write_text(json.dumps(said), "utf-8")
    with pytest.raises(UnsupportedModel, match=f"{key}, got nothing"):
        load_model(demo, device="cpu")


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("unet/config.json", {"norm_num_groups": 7}),
        ("unet/config.json", {"down_block_types": ["DownBlock2D"]}),
        ("unet/config.json", {"layers_per_block": 2}),
        ("unet/config.json", {"block_out_channels": [48, 96, 192]}),
        ("vae/config.json", {"norm_num_groups": 5}),
        ("vae/config.json", {"use_quant_conv": False, "layers_per_block": 2}),
        ("text_encoder/config.json", {"num_attention_heads": 7}),
        ("text_encoder/config.json", {"hidden_size": 32}),
        ("text_encoder/config.json", {"vocab_size": 10_000}),
    ],
)
def test_values_that_do_not_fit_each_other_or_the_weights_are_refused(
    demo: Path, file: str, values: dict[str, Any]
) -> None:
    change(demo, file, **values)
    with pytest.raises(UnsupportedModel, match=r"do not fit each other|of shape|without"):
        load_model(demo, device="cpu")


ORDERS = {
    "_attn_implementation": "kernels-community/flash-attn",
    "attn_implementation": "kernels-community/flash-attn",
    "_attn_implementation_internal": "flash_attention_2",
    "auto_map": {"AutoModel": "evil/repo--model.Model"},
    "trust_remote_code": True,
    "_name_or_path": "evil/repo",
    "torchscript": True,
    "_commit_hash": "main",
    "use_kernels": True,
    "transformers_weights": "evil.safetensors",
    "tokenizer_class": "Evil",
    "architectures": ["Evil"],
    "dtype": "float64",
}


def test_no_configuration_chooses_code_or_a_place_to_fetch_it(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", connect)
    usual = load_model(DEMO_FOLDER, device="cpu", dtype="fp32")
    for file in CONFIGS[:-1]:
        change(demo, file, **ORDERS)
    model = load_model(demo, device="cpu", dtype="fp32")
    for ours, theirs in zip(model.text_encoders, usual.text_encoders, strict=True):
        assert ours.config._attn_implementation == theirs.config._attn_implementation == "sdpa"
        assert type(ours) is type(theirs)
    request = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=1)
    (there,), (here,) = (Engine(one).generate([request]) for one in (usual, model))
    assert torch.equal(there.decoded, here.decoded)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer/vocab.json", '{"a": 0, "a</w>": 5}'),
        ("tokenizer/vocab.json", '{"a": 0}'),
        ("tokenizer/vocab.json", '{"a": 0, "b": 1, "c": null}'),
        ("tokenizer/vocab.json", "[]"),
        ("tokenizer/vocab.json", "[" * 100_000),
        ("tokenizer/merges.txt", "no such\n"),
        ("tokenizer/merges.txt", "a b c\n"),
        ("tokenizer/added_tokens.json", '{"<s0>": 716}'),
    ],
)
def test_damaged_words_are_refused(demo: Path, file: str, content: str) -> None:
    (demo / file).write_text(content, "utf-8")
    with pytest.raises(UnsupportedModel, match="tokenizer"):
        load_model(demo, device="cpu")


VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 64, 1000, 2**31, 10**9, 10**40, -(2**63)),
    *(0.0, -0.5, 0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "silu", "../..", "kernels-community/x", "a" * 5000, "\ud800", "\0"),
    *([], [1], [1, 2, 3], [None] * 3, ["x"], [[1]], [[[1]]], [1e9] * 3, [2**31] * 3),
    *({}, {"content": 1}, {"x": []}),
]


def mutate(draw: random.Random, text: str) -> str:
    """A configuration with some of it changed, or its text with some of it damaged."""
    if draw.random() < 0.1:
        at, width = draw.randrange(len(text)), draw.randrange(1, 40)
        return text[:at] + draw.choice(["", "[" * 5000, '"', "NaN", "{"]) + text[at + width :]
    said = json.loads(text)
    for _ in range(draw.choice([1, 1, 2, 5])):
        key = draw.choice([*said, *ORDERS])
        value = said.get(key)
        if draw.random() < 0.1:
            said.pop(key, None)
        elif isinstance(value, list) and value and draw.random() < 0.5:
            value = list(value)
            value[draw.randrange(len(value))] = draw.choice(VALUES)
            said[key] = value
        elif isinstance(value, int | float) and draw.random() < 0.4:
            said[key] = value * draw.choice([-1, 2, 0.5, 10, 1000])
        else:
            said[key] = draw.choice(VALUES)
    return json.dumps(said)


def open_part(folder: Path, file: str) -> None:
    """All that is read of a part before its weights, or its scheduler started."""
    source = DiffusersFolder(folder)
    part, _, _ = file.partition("/")
    if part.startswith("tokenizer"):
        source.load_tokenizers()
    elif part == "scheduler":
        count_calls("euler", source.scheduler_config, 4)
    elif part != "model_index.json":
        source.skeleton(part)


def fuzz(folder: Path, seed: int, count: int, use: Callable[[Path, str], None]) -> int:
    """Mutate one file at a time, and use the folder and that file; how many were refused."""
    draw = random.Random(seed)
    texts = {file: (folder / file).read_text("utf-8") for file in CONFIGS}
    refused = 0
    for number in range(count):
        file = draw.choice(CONFIGS)
        mutated = mutate(draw, texts[file])
        (folder / file).write_text(mutated, "utf-8", "surrogatepass")
        try:
            use(folder, file)
        except BatchSDXLError as error:
            assert error.expected
            assert len(str(error)) < 2000
            refused += 1
        except Exception as error:
            raise AssertionError(f"{number}: {file}: {mutated}") from error
        (folder / file).write_text(texts[file], "utf-8")
    return refused


def peak() -> int:
    """Most memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_mutated_configurations_end_in_errors_of_ours_and_take_no_memory(demo: Path) -> None:
    for file in CONFIGS:
        open_part(demo, file)
    before = peak()
    refused = fuzz(demo, seed=0, count=300, use=open_part)
    assert 100 < refused < 290
    assert peak() - before < 300


@pytest.mark.slow
def test_thousands_of_mutated_configurations_end_in_errors_of_ours(demo: Path) -> None:
    assert fuzz(demo, seed=1, count=5000, use=open_part) > 1500


@pytest.mark.slow
def test_mutated_models_make_an_image_or_are_refused(demo: Path) -> None:
    request = ImageRequest(prompt="a", seed=1, num_inference_steps=2, width=64, height=64)

    def draw(folder: Path, _: str) -> None:
        (_image,) = Engine(load_model(folder, device="cpu")).generate([request])

    assert fuzz(demo, seed=2, count=250, use=draw) > 75
