"""LoRAs of all formats change a copy of the model, and leave the model as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model
from batch_sdxl.core.errors import InvalidRequest, ModelNotFound, UnsupportedModel
from batch_sdxl.core.models.lora import apply_lora
from batch_sdxl.core.models.original_names import original_name
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

RANK, ALPHA = 4, 2.0
ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"
OUT = "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0"
CONVOLUTION = "down_blocks.0.resnets.1.conv1"
DOWNSAMPLER = "down_blocks.0.downsamplers.0.conv"
UNET_PATHS = [ATTENTION, OUT, CONVOLUTION, DOWNSAMPLER, "mid_block.attentions.0.proj_in"]
TEXT_PATHS = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.2.mlp.fc1"]

REQUEST = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=2)


def targets(model: Model) -> dict[str, list[tuple[str, Any]]]:
    """Component -> paths without `text_model.`, and modules, that the LoRA changes."""

    def of(encoder: Any) -> list[tuple[str, Any]]:
        inner = getattr(encoder, "text_model", encoder)
        return [(path, inner.get_submodule(path)) for path in TEXT_PATHS]

    return {
        "unet": [(path, model.unet.get_submodule(path)) for path in UNET_PATHS],
        "text_encoder": of(model.text_encoders[0]),
        "text_encoder_2": of(model.text_encoders[1]),
    }


def factors(
    model: Model, seed: int = 0
) -> dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]:
    """(component, path) -> up and down, a convolution's with its kernel in down."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for component, modules in targets(model).items():
        for path, module in modules:
            rows, *columns = module.weight.shape
            up = torch.randn(rows, RANK, *[1] * (len(columns) - 1), generator=draw) / 4
            down = torch.randn(RANK, *columns, generator=draw) / 4
            found[component, path] = up, down
    return found


def kohya(model: Model, *, original: bool, seed: int = 0) -> Tensors:
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    tensors = {}
    for (component, path), (up, down) in factors(model, seed).items():
        if component != "unet":
            path = f"text_model.{path}"
        elif original:
            path = original_name(path)
        name = f"{prefixes[component]}_{path.replace('.', '_')}"
        tensors[f"{name}.lora_up.weight"] = up
        tensors[f"{name}.lora_down.weight"] = down
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


def diffusers(model: Model, up_name: str, down_name: str) -> Tensors:
    """Without alpha, as diffusers wrote it before PEFT: its factor goes into `up`."""
    tensors = {}
    for (component, path), (up, down) in factors(model).items():
        name = f"{component}.{path if component == 'unet' else f'text_model.{path}'}"
        tensors[f"{name}.{up_name}.weight"] = up * (ALPHA / RANK)
        tensors[f"{name}.{down_name}.weight"] = down
    return tensors


FORMATS: dict[str, Callable[[Model], Tensors]] = {
    "kohya": lambda model: kohya(model, original=False),
    "kohya, original names": lambda model: kohya(model, original=True),
    "PEFT": lambda model: diffusers(model, "lora_B", "lora_A"),
    "diffusers": lambda model: diffusers(model, "lora.up", "lora.down"),
    "diffusers, text encoders": lambda model: {
        name.replace(".lora.", ".lora_linear_layer.") if name.startswith("text") else name: tensor
        for name, tensor in diffusers(model, "lora.up", "lora.down").items()
    },
    "diffusers, attention processors": lambda model: {
        name.replace("attn1.to_q.lora", "attn1.processor.to_q_lora").replace(
            "attn2.to_out.0.lora", "attn2.processor.to_out_lora"
        ): tensor
        for name, tensor in diffusers(model, "lora.up", "lora.down").items()
    },
}


@pytest.fixture
def lora(tiny: Model, tmp_path: Path) -> Path:
    path = tmp_path / "style.safetensors"
    save_file(kohya(tiny, original=True), path)
    return path


@pytest.fixture
def other(tiny: Model, tmp_path: Path) -> Path:
    path = tmp_path / "other.safetensors"
    save_file(kohya(tiny, original=False, seed=1), path)
    return path


def weights(model: Model) -> Tensors:
    """All weights of all components; copies."""
    modules = {"unet": model.unet, "1": model.text_encoders[0], "2": model.text_encoders[1]}
    return {
        f"{key}.{name}": tensor.clone()
        for key, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def pixels(model: Model) -> Any:
    (image,) = Engine(model).generate([REQUEST])
    return image.decoded.numpy()


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_every_format_are_changed_as_the_formula_says(
    tiny: Model, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(FORMATS[name](tiny), path)
    changed = targets(apply_lora(tiny, path, 0.5, 0.25))
    given = factors(tiny)
    for component, modules in targets(tiny).items():
        factor = (0.5 if component == "unet" else 0.25) * ALPHA / RANK
        for (place, before), (_, after) in zip(modules, changed[component], strict=True):
            up, down = given[component, place]
            delta = torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1))
            expected = before.weight + factor * delta.reshape(before.weight.shape)
            torch.testing.assert_close(after.weight, expected)
            assert not torch.equal(after.weight, before.weight)


def test_only_what_the_file_names_is_changed(tiny: Model, lora: Path) -> None:
    before, after = weights(tiny), weights(apply_lora(tiny, lora))
    touched = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(touched) == len(UNET_PATHS) + 2 * len(TEXT_PATHS)


def test_the_model_itself_stays_as_it_was(tiny: Model, lora: Path) -> None:
    before, image, digest = weights(tiny), pixels(tiny), tiny.digest
    changed = apply_lora(tiny, lora)
    assert not np.array_equal(pixels(changed), image)
    for name, tensor in weights(tiny).items():
        assert torch.equal(tensor, before[name]), name
    np.testing.assert_array_equal(pixels(tiny), image)
    assert (tiny.digest, tiny.loras) == (digest, ())


def test_untouched_weights_take_no_memory_twice(tiny: Model, lora: Path) -> None:
    changed = apply_lora(tiny, lora)
    own = {id(p) for p in changed.unet.parameters()} - {id(p) for p in tiny.unet.parameters()}
    assert len(own) == len(UNET_PATHS)


def test_several_add_up_whatever_their_order(tiny: Model, lora: Path, other: Path) -> None:
    one = apply_lora(apply_lora(tiny, lora, 0.7), other, -0.3)
    two = apply_lora(apply_lora(tiny, other, -0.3), lora, 0.7)
    assert one.digest == two.digest
    both, turned = weights(one), weights(two)
    for name, tensor in both.items():
        assert torch.equal(tensor, turned[name]), name
    only = weights(apply_lora(tiny, lora, 0.7)), weights(apply_lora(tiny, other, -0.3))
    for name, before in weights(tiny).items():
        total = before + (only[0][name] - before) + (only[1][name] - before)
        torch.testing.assert_close(both[name], total)


def test_each_lora_and_weight_is_part_of_the_digest(tiny: Model, lora: Path, other: Path) -> None:
    models = [
        tiny,
        apply_lora(tiny, lora),
        apply_lora(tiny, other),
        apply_lora(tiny, lora, 0.5),
        apply_lora(tiny, lora, 1.0, 0.5),
        apply_lora(apply_lora(tiny, lora), other),
        apply_lora(apply_lora(tiny, lora), lora),
    ]
    assert len({model.digest for model in models}) == len(models)
    renamed = lora.rename(lora.with_name("renamed.safetensors"))
    assert apply_lora(tiny, renamed).digest == models[1].digest


def test_a_weight_of_zero_is_the_model_itself(tiny: Model, lora: Path) -> None:
    assert apply_lora(tiny, lora, 0.0) is tiny


def test_a_lora_without_text_parts_has_no_text_weight(tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "unet.safetensors"
    all_tensors = kohya(tiny, original=True)
    save_file({name: t for name, t in all_tensors.items() if "_unet_" in name}, path)
    assert apply_lora(tiny, path, 1.0, 0.3).digest == apply_lora(tiny, path).digest


def test_it_works_within_inference_mode(tiny: Model, lora: Path) -> None:
    """ComfyUI runs every node so."""
    expected = pixels(apply_lora(tiny, lora))
    with torch.inference_mode():
        np.testing.assert_array_equal(pixels(apply_lora(tiny, lora)), expected)


def test_alpha_is_read_from_the_configuration_of_peft(tiny: Model, tmp_path: Path) -> None:
    tensors = {
        f"unet.{path}.{name}.weight": tensor
        for path in UNET_PATHS
        for name, tensor in zip(("lora_B", "lora_A"), factors(tiny)["unet", path], strict=True)
    }
    config = {"unet.lora_alpha": ALPHA, "unet.alpha_pattern": {"attn1.to_q": 8}}
    path = tmp_path / "peft.safetensors"
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps(config)})
    changed = apply_lora(tiny, path)
    for place, scale in {CONVOLUTION: ALPHA / RANK, ATTENTION: 8 / RANK}.items():
        up, down = factors(tiny)["unet", place]
        before, after = (m.unet.get_submodule(place).weight for m in (tiny, changed))
        delta = (up.flatten(1) @ down.flatten(1)).reshape(before.shape)
        torch.testing.assert_close(after, before + scale * delta)


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"lora_unet_conv_in.oft_diag": (4, 4)}, "oft_diag, which is not known"),
        ({"lora_unet_conv_in.on_input": (4,)}, "on_input, which is not known"),
        ({"unet.x.lora_magnitude_vector": (4,)}, "lora_magnitude_vector, which is not known"),
        ({"lora_te_text_model_x.lora_up.weight": (4, 4)}, "another model: lora_te_text_model_x"),
        ({"transformer.x.lora_A.weight": (4, 4)}, "another model: transformer.x.lora_A.weight"),
        ({"lora_unet_nowhere.lora_up.weight": (4, 4)}, "another model: lora_unet_nowhere"),
        ({"lora_unet_conv_in.lora_up.weight": (32, 4)}, "incomplete: lora_unet_conv_in.lora_up"),
        ({"lora_unet_conv_in.hada_w1_a": (32, 4)}, "incomplete"),
        ({"lora_unet_conv_in.alpha": ()}, "incomplete"),
        ({"lora_unet_conv_in.diff": (4, 32, 3, 3)}, "of shapes"),
        ({"lora_unet_conv_in.set_weight": (32,)}, "of shapes"),
        ({"lora_unet_mid_block_attentions_0_to_v.diff_b": (64,)}, "another model"),
        (
            {"lora_unet_conv_in.oft_blocks": (2, 16, 16), "lora_unet_conv_in.rescale": (32, 1)},
            "rescale, which OFT has not",
        ),
        (
            {
                "lora_unet_conv_in.lora_up.weight": (320, 4),
                "lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3),
            },
            "of shape",
        ),
        ({}, "without any change"),
    ],
)
def test_what_cannot_be_applied_as_a_whole_is_refused(
    tiny: Model, tmp_path: Path, tensors: dict[str, tuple[int, ...]], found: str
) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, path)
    with pytest.raises(UnsupportedModel, match=found):
        apply_lora(tiny, path)


def test_a_pickled_or_missing_lora_is_refused(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "lora.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsupportedModel, match="pickled"):
        apply_lora(tiny, tmp_path / "lora.pt")
    with pytest.raises(ModelNotFound):
        apply_lora(tiny, tmp_path / "absent.safetensors")


def test_weights_must_be_finite(tiny: Model, lora: Path) -> None:
    with pytest.raises(InvalidRequest, match="finite"):
        apply_lora(tiny, lora, float("nan"))
