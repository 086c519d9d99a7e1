import json
import shutil
from pathlib import Path

import pytest
import torch
from batch_sdxl.core import load_model
from batch_sdxl.core.errors import InvalidRequest, ModelNotFound, UnsupportedModel


def test_a_folder_loads_in_the_dtype_asked_for(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="bf16")
    assert model.dtype == model.unet.dtype == model.text_encoders[1].dtype == torch.bfloat16
    assert load_model(tiny_folder, device="cpu").dtype == torch.float32


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
