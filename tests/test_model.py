import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.errors import InvalidRequest, ModelNotFound, UnsupportedModel
from batch_sdxl.core.models.vae import decode, encode
from diffusers import AutoencoderKL


def test_a_folder_loads_in_the_dtype_asked_for(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="bf16")
    assert model.dtype == model.unet.dtype == model.text_encoders[1].dtype == torch.bfloat16
    assert load_model(tiny_folder, device="cpu").dtype == torch.float32


def test_weights_in_pieces_are_put_together(tiny: Model, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.unet.save_pretrained(folder / "unet", max_shard_size="1MB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    model = load_model(folder, device="cpu")
    assert torch.equal(model.unet.conv_in.weight, tiny.unet.conv_in.weight)
    assert torch.equal(model.unet.conv_out.weight, tiny.unet.conv_out.weight)
    assert model.digest != tiny.digest


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no-such-model"):
        load_model(tmp_path / "no-such-model")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"model_index\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ['{"_class_name": "FluxPipeline"}', "{}", "[]", "{"])
def test_another_kind_of_model_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(UnsupportedModel, match="StableDiffusionXLPipeline"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "changes", "found"),
    [
        ("model_index.json", {"text_encoder": [None, None]}, "an SDXL refiner"),
        ("unet/config.json", {"in_channels": 9}, "inpainting or editing, with 9 input channels"),
        ("unet/config.json", {"in_channels": 8}, "inpainting or editing, with 8 input channels"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "EDMDPMSolverMultistepScheduler"},
            "noise levels are not SDXL's",
        ),
    ],
)
def test_relatives_of_sdxl_are_refused(
    tiny_folder: Path, tmp_path: Path, file: str, changes: dict[str, Any], found: str
) -> None:
    """Their folders have pipelines of SDXL's name."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UnsupportedModel, match=found):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("part", ["unet", "text_encoder_2", "tokenizer", "scheduler"])
def test_an_incomplete_model_is_refused(tiny_folder: Path, tmp_path: Path, part: str) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    shutil.rmtree(folder / part)
    with pytest.raises(UnsupportedModel):
        load_model(folder)


def test_damaged_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UnsupportedModel):
        load_model(folder)


def test_an_unknown_dtype_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="fp32, fp16, bf16"):
        load_model(tiny_folder, dtype="int4")


def test_the_demo_model_is_found_by_name() -> None:
    model = load_model("demo", device="cpu")
    assert model.native_size >= 128
    assert json.loads(json.dumps(model.scheduler_config))["prediction_type"] == "epsilon"


def test_an_own_vae_takes_the_place_of_the_models(tiny_folder: Path, tmp_path: Path) -> None:
    """From its own folder, or from that of a whole model."""
    vae = AutoencoderKL.from_pretrained(tiny_folder / "vae")
    with torch.no_grad():
        vae.decoder.conv_out.bias += 0.5
    vae.save_pretrained(tmp_path / "whole" / "vae")
    models = [
        load_model(tiny_folder, device="cpu", vae=path)
        for path in (tmp_path / "whole", tmp_path / "whole" / "vae")
    ]
    for model in models:
        assert torch.equal(model.vae.decoder.conv_out.bias, vae.decoder.conv_out.bias)
    assert models[0].digest == models[1].digest
    assert models[0].digest != load_model(tiny_folder, device="cpu").digest


def test_a_model_without_a_vae_needs_one(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    shutil.rmtree(folder / "vae")
    with pytest.raises(UnsupportedModel, match="a model with a VAE"):
        load_model(folder, device="cpu")
    assert load_model(folder, device="cpu", vae=tiny_folder).vae.dtype == torch.float32


def test_a_missing_vae_is_named(tiny_folder: Path) -> None:
    with pytest.raises(ModelNotFound, match="no-such-vae"):
        load_model(tiny_folder, device="cpu", vae="no-such-vae")


def test_what_is_no_vae_is_refused(tiny_folder: Path) -> None:
    pickled = tiny_folder.parent / "sdxl.vae.pt"
    pickled.write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsupportedModel, match="pickled"):
        load_model(tiny_folder, device="cpu", vae=pickled)
    unet = tiny_folder / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(UnsupportedModel, match="a VAE of SDXL"):
        load_model(tiny_folder, device="cpu", vae=unet)


def test_a_vae_runs_in_fp32_where_it_says_that_it_overflows(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    assert load_model(folder, device="cpu", dtype="fp16").vae.dtype == torch.float16
    config = folder / "vae" / "config.json"
    text = config.read_text()
    assert '"force_upcast": false' in text
    config.write_text(text.replace('"force_upcast": false', '"force_upcast": true'))
    assert load_model(folder, device="cpu", dtype="fp16").vae.dtype == torch.float32
    assert load_model(folder, device="cpu", dtype="bf16").vae.dtype == torch.bfloat16


def test_only_an_image_that_overflows_in_fp16_is_decoded_in_fp32(tiny_folder: Path) -> None:
    half = load_model(tiny_folder, device="cpu", dtype="fp16")
    exact = load_model(tiny_folder, device="cpu", dtype="fp32")
    exact.vae.load_state_dict(
        half.vae.state_dict()
    )  # the weights as they are after rounding to fp16
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in half.vae.state_dict().items()}
    usual, large = decode(half, latents), decode(half, latents * 1e5)
    assert not torch.equal(usual, decode(exact, latents))
    assert torch.equal(large, decode(exact, latents * 1e5))
    assert torch.equal(decode(half, latents), usual)
    for name, tensor in half.vae.state_dict().items():
        assert tensor.dtype == torch.float16
        assert torch.equal(tensor, before[name])


def test_an_image_that_overflows_in_fp16_is_encoded_in_fp32(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp16")
    with torch.no_grad():
        model.vae.encoder.conv_in.weight.mul_(6e4)
    mean, deviation = encode(
        model, torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    )
    assert mean.isfinite().all()
    assert deviation.isfinite().all()


@pytest.mark.parametrize(
    "changes", [{"prediction_type": "v_prediction"}, {"zero_terminal_snr": True}]
)
def test_the_noise_of_a_model_can_be_set(tiny_folder: Path, changes: dict[str, Any]) -> None:
    model = load_model(tiny_folder, device="cpu", **changes)
    usual = load_model(tiny_folder, device="cpu")
    assert model.digest != usual.digest
    assert model.scheduler_config != usual.scheduler_config
    same = load_model(tiny_folder, device="cpu", prediction_type="epsilon", zero_terminal_snr=False)
    assert same.digest == usual.digest


def test_an_unknown_prediction_type_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="v_prediction"):
        load_model(tiny_folder, device="cpu", prediction_type="flow")
