"""Checkpoints in SDXL's original layout."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, load_model
from batch_sdxl.core.errors import UnsupportedModel
from batch_sdxl.core.models.original_names import original_name
from batch_sdxl.core.models.spec import DEMO_FOLDER
from safetensors.torch import load_file, save_file

Save = Callable[..., Path]
Tensors = dict[str, torch.Tensor]

TOKENIZER = DEMO_FOLDER / "tokenizer"
UNET = "model.diffusion_model."
CLIP_L = "conditioner.embedders.0.transformer."
CLIP_G = "conditioner.embedders.1.model."
VAE = "first_stage_model."

REQUEST = ImageRequest(
    prompt="a red circle", seed=1, num_inference_steps=2, width=64, height=64, negative_prompt="dim"
)


def pixels(model: Model) -> Any:
    (image,) = Engine(model).generate([REQUEST])
    return image.decoded.numpy()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_checkpoint_makes_the_images_of_its_diffusers_folder(
    folder: Path, save: Save, dtype: str
) -> None:
    from_folder = load_model(folder, device="cpu", dtype=dtype)
    from_file = load_model(save(), device="cpu", dtype=dtype)
    assert from_file.unet.dtype == from_file.text_encoders[1].dtype == from_folder.dtype
    assert from_file.vae.dtype == from_folder.vae.dtype
    assert from_file.native_size == 1024
    np.testing.assert_array_equal(pixels(from_file), pixels(from_folder))


def test_a_checkpoint_loads_within_inference_mode(folder: Path, save: Save) -> None:
    """ComfyUI runs every node so."""
    with torch.inference_mode():
        image = pixels(load_model(save(), device="cpu", dtype="fp32"))
    np.testing.assert_array_equal(image, pixels(load_model(folder, device="cpu", dtype="fp32")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_the_dtype_in_the_file_does_not_matter(
    tensors: Tensors, save: Save, folder: Path, dtype: torch.dtype
) -> None:
    wide = {name: t.to(dtype) for name, t in tensors.items() if t.is_floating_point()}
    model = load_model(save(wide), device="cpu", dtype="fp32")
    weight = model.unet.conv_in.weight
    stored = tensors[UNET + "input_blocks.0.0.weight"].to(dtype).float()
    assert weight.dtype == torch.float32
    assert torch.equal(weight, stored)


def test_needless_tensors_do_no_harm(tensors: Tensors, save: Save, folder: Path) -> None:
    extra = {
        name: torch.ones(1) for name in ("model_ema.decay", "alphas_cumprod", "denoiser.sigmas")
    }
    extra[CLIP_G + "logit_scale"] = torch.tensor(1.0)
    model = load_model(save(extra), device="cpu")
    assert torch.equal(model.unet.conv_in.weight, tensors[UNET + "input_blocks.0.0.weight"].float())


def test_loading_opens_no_connection(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_model(save(), device="cpu")


@pytest.mark.parametrize(
    ("marks", "metadata", "prediction", "zero_snr"),
    [
        ([], {}, "epsilon", False),
        (["v_pred"], {}, "v_prediction", False),
        (["v_pred", "ztsnr"], {}, "v_prediction", True),
        ([], {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ([], {"modelspec.prediction_type": "epsilon"}, "epsilon", False),
    ],
)
def test_what_a_file_says_of_its_noise_is_followed(
    save: Save, marks: list[str], metadata: dict[str, str], prediction: str, zero_snr: bool
) -> None:
    path = save(dict.fromkeys(marks, torch.tensor([])), metadata=metadata)
    config = load_model(path, device="cpu").scheduler_config
    assert config["prediction_type"] == prediction
    assert config.get("rescale_betas_zero_snr", False) == zero_snr
    assert (config["timestep_spacing"] == "trailing") == zero_snr


def test_the_digest_of_a_file_is_that_of_its_content(save: Save) -> None:
    """Its name is no part of it; a tokenizer that is not CLIP's own is."""
    path = save()
    model = load_model(path, device="cpu")
    assert model.contents.files_digest == sha256(path.read_bytes()).hexdigest()
    assert [change.split()[0] for change in model.contents.changes] == ["vocabulary"]
    digest = model.digest
    renamed = path.rename(path.with_name("other.safetensors"))
    assert load_model(renamed, device="cpu").digest == digest
    assert load_model(save({"v_pred": torch.tensor([])}), device="cpu").digest != digest


def test_a_file_without_a_tokenizer_finds_one_in_the_folders_given(save: Save) -> None:
    path = save(tokenizer=False)
    model = load_model(path, device="cpu", tokenizer_folders=[path.parent / "none", TOKENIZER])
    first, second = model.tokenizers
    assert first("a red circle").input_ids == second("a red circle").input_ids
    assert (first.pad_token, second.pad_token) == ("<|endoftext|>", "!")
    assert first.model_max_length == second.model_max_length == 77


def test_half_precision_variants_are_found(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "half"))
    for path in copy.glob("*/*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    model = load_model(copy, device="cpu")
    expected = load_model(folder, device="cpu")
    assert torch.equal(model.unet.conv_in.weight, expected.unet.conv_in.weight)
    content = model.digest
    weights = copy / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert load_model(copy, device="cpu").digest != content


@pytest.mark.parametrize("layout", ["original", "original with prefix", "diffusers"])
def test_an_own_vae_of_any_layout_takes_the_place_of_the_one_inside(
    folder: Path, tensors: Tensors, save: Save, tmp_path: Path, layout: str
) -> None:
    if layout == "diffusers":
        own = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    else:
        keep = "" if layout == "original with prefix" else VAE
        own = {n.removeprefix(keep): t for n, t in tensors.items() if n.startswith(VAE)}
    file = tmp_path / "own.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in own.items()}, file)
    path = save()
    usual, other = load_model(path, device="cpu"), load_model(path, device="cpu", vae=file)
    for name, tensor in usual.vae.state_dict().items():
        expected = (tensor.half() + 0.01).float()
        assert torch.equal(other.vae.state_dict()[name], expected), name
    assert usual.digest != other.digest
    # SDXL's own VAE overflows, and a file cannot say that it does not.
    assert load_model(path, device="cpu", dtype="fp16", vae=file).vae.dtype == torch.float32


def test_a_checkpoint_without_a_vae_needs_one(folder: Path, tensors: Tensors, save: Save) -> None:
    path = save({name: None for name in tensors if name.startswith(VAE)})
    with pytest.raises(UnsupportedModel, match="Give one as vae"):
        load_model(path, device="cpu")
    assert load_model(path, device="cpu", vae=folder).vae.config.scaling_factor == 0.13025


@pytest.mark.parametrize("part", [100, 0.0005, 0.5, 0.999])
def test_a_file_cut_short_is_refused(save: Save, part: float) -> None:
    path = save()
    content = path.read_bytes()
    path.write_bytes(content[: int(part if part > 1 else part * len(content))])
    with pytest.raises(UnsupportedModel, match="Fetch or copy the file again"):
        load_model(path, device="cpu")


@pytest.mark.parametrize(
    "name",
    [
        UNET + "input_blocks.0.0.weight",
        UNET + "label_emb.0.2.weight",
        UNET + "middle_block.1.proj_in.weight",
        UNET + "input_blocks.4.0.out_layers.3.weight",
        UNET + "output_blocks.2.1.transformer_blocks.9.norm3.bias",
        VAE + "decoder.mid.attn_1.q.weight",
        CLIP_L + "text_model.encoder.layers.11.mlp.fc2.bias",
        CLIP_G + "transformer.resblocks.3.attn.in_proj_bias",
        CLIP_G + "text_projection",
    ],
)
def test_a_missing_tensor_is_told_before_anything_is_read(
    save: Save, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save({name: None})
    monkeypatch.setattr("batch_sdxl.core.models.checkpoint._load", None)
    with pytest.raises(UnsupportedModel, match=r"whole SDXL checkpoint.*without "):
        load_model(path, device="cpu")


def test_tensors_that_sdxl_has_not_are_told(save: Save) -> None:
    path = save({UNET + "input_blocks.1.1.norm1.weight": torch.ones(32)})
    with pytest.raises(UnsupportedModel, match=r"input_blocks\.1\.1.*which SDXL has not"):
        load_model(path, device="cpu")


def test_a_tensor_of_another_shape_is_told(save: Save) -> None:
    path = save({UNET + "input_blocks.2.0.emb_layers.1.weight": torch.ones(32, 4)})
    with pytest.raises(UnsupportedModel, match="of shape"):
        load_model(path, device="cpu")


#: Layers of a level, transformer blocks of each layer on the way down and up, and in the middle.
DISTILLED: dict[str, tuple[int, list[Any], list[Any], str | None]] = {
    "SSD-1B": (2, [(0, 0), (2, 2), (4, 4)], [(4, 4, 10), (2, 1, 1), (0, 0, 0)], "UNetMidBlock2D"),
    "Segmind-Vega": (
        2,
        [(0, 0), (1, 1), (2, 2)],
        [(2, 2, 2), (1, 1, 1), (0,) * 3],
        "UNetMidBlock2D",
    ),
    "KOALA-700M": (1, [(0,), (2,), (5,)], [(5, 5), (2, 2), (0, 0)], None),
    "KOALA-1B": (1, [(0,), (2,), (6,)], [(6, 6), (2, 2), (0, 0)], "UNetMidBlock2DCrossAttn"),
}


@pytest.fixture(params=DISTILLED)
def distilled(request: pytest.FixtureRequest) -> Any:
    """A UNet of SDXL's kind with fewer blocks, of the other parts' widths."""
    from diffusers import UNet2DConditionModel

    layers, down, up, middle = DISTILLED[request.param]
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(32, 64, 128),
        layers_per_block=layers,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type=middle,
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[list(level) for level in down],
        reverse_transformer_layers_per_block=[list(level) for level in up],
        attention_head_dim=(1, 1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=128 + 6 * 16,
        cross_attention_dim=160,
    )


def test_a_unet_with_fewer_blocks_is_loaded_as_what_it_is(
    distilled: Any, folder: Path, tensors: Tensors, save: Save, tmp_path: Path
) -> None:
    layers = distilled.config.layers_per_block
    weights = distilled.state_dict()
    own = {UNET + original_name(name, layers): tensor for name, tensor in weights.items()}
    gone: dict[str, torch.Tensor | None] = {n: None for n in tensors if n.startswith(UNET)}
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    shutil.rmtree(copy / "unet")
    distilled.save_pretrained(copy / "unet")
    for path in (save(gone | own), copy):
        model = load_model(path, device="cpu", dtype="fp32")
        loaded = model.unet.state_dict()
        assert loaded.keys() == weights.keys()
        assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_weights_in_scaled_fp8_are_multiplied_by_their_factors(
    tensors: Tensors, save: Save
) -> None:
    name, encoder = UNET + "middle_block.1.proj_in", CLIP_G + "transformer.resblocks.0.mlp.c_fc"
    changes: Tensors = {UNET + "scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn)}
    expected: Tensors = {}
    for base, factor in ((name, 0.25), (encoder, 3.0)):
        small = tensors[base + ".weight"].to(torch.float8_e4m3fn)
        changes |= {
            base + ".weight": small,
            base + ".scale_weight": torch.tensor(factor),
            base + ".scale_input": torch.tensor([1.0]),
        }
        expected[base] = small.float() * factor
    model = load_model(save(changes), device="cpu", dtype="fp32")
    text = model.text_encoders[1].text_model.encoder.layers[0].mlp.fc1
    assert torch.equal(model.unet.mid_block.attentions[0].proj_in.weight, expected[name])
    assert torch.equal(text.weight, expected[encoder])


def test_factors_that_are_none_are_refused(save: Save) -> None:
    for changes in (
        {UNET + "middle_block.1.proj_in.scale_weight": torch.ones(128)},
        {UNET + "middle_block.9.scale_weight": torch.ones(())},
    ):
        with pytest.raises(UnsupportedModel, match="no factor of a weight"):
            load_model(save(changes), device="cpu")
