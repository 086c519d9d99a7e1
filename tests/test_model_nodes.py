"""Load SDXL and Apply LoRA find files where the host has them, and see when they change."""

import gc
import math
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.host import host
from batch_sdxl.nodes.apply_lora import ApplyLora
from batch_sdxl.nodes.load_sdxl import OWN_VAE, LoadSDXL
from safetensors.torch import save_file


class Folders(host.Host):
    def __init__(self, root: Path) -> None:
        self.root = root

    def file_names(self, kind: str) -> list[str]:
        return sorted(path.name for path in (self.root / kind).iterdir())

    def file_path(self, kind: str, name: str) -> Path:
        return self.root / kind / name

    def placement(self) -> dict[str, Any]:
        return {"device": torch.device("cpu"), "home": torch.device("cpu"), "dtype": "bf16"}


@pytest.fixture
def folders(tmp_path: Path, tiny: Model, tiny_folder: Path) -> Folders:
    for kind in ("vae", "loras", "embeddings"):
        (tmp_path / kind).mkdir()
    (tmp_path / "vae" / "fixed").symlink_to(tiny_folder / "vae")
    weight = tiny.unet.conv_in.weight
    save_file(
        {
            "lora_unet_conv_in.lora_up.weight": torch.ones(len(weight), 1, 1, 1),
            "lora_unet_conv_in.lora_down.weight": torch.ones(1, *weight.shape[1:]),
        },
        tmp_path / "loras" / "style.safetensors",
    )
    return Folders(tmp_path)


def test_the_hosts_files_are_offered_and_used(
    folders: Folders, tiny: Model, tiny_folder: Path
) -> None:
    with host.use(folders):
        assert LoadSDXL.INPUT_TYPES()["optional"]["vae"][0] == [OWN_VAE, "fixed"]
        assert ApplyLora.INPUT_TYPES()["required"]["lora_name"][0] == ["style.safetensors"]
        (usual,) = LoadSDXL().run(str(tiny_folder), "fp32")
        (other,) = LoadSDXL().run(str(tiny_folder), "fp32", "fixed")
        (changed,) = ApplyLora().run(usual, "style.safetensors", 0.5, 1.0)
    assert usual.digest == tiny.digest != other.digest
    assert torch.equal(changed.unet.conv_in.weight, tiny.unet.conv_in.weight + 0.5)
    assert torch.equal(usual.unet.conv_in.weight, tiny.unet.conv_in.weight)


def test_the_noise_can_be_set(tiny_folder: Path) -> None:
    (model,) = LoadSDXL().run(str(tiny_folder), "fp32", noise="v_prediction, zero SNR")
    assert model.scheduler_config["prediction_type"] == "v_prediction"
    assert model.scheduler_config["rescale_betas_zero_snr"]
    (usual,) = LoadSDXL().run(str(tiny_folder), "fp32", noise="epsilon")
    assert usual.digest == LoadSDXL().run(str(tiny_folder), "fp32")[0].digest


def test_a_path_stands_for_itself_where_the_host_has_no_folders(tmp_path: Path) -> None:
    assert host.Host().file_path("vae", str(tmp_path)) == tmp_path
    assert host.Host().file_names("loras") == []


def test_the_host_says_where_and_in_what_precision(folders: Folders, tiny_folder: Path) -> None:
    with host.use(folders):
        assert LoadSDXL().run(str(tiny_folder), "auto")[0].dtype == torch.bfloat16
        assert LoadSDXL().run(str(tiny_folder), "fp32")[0].dtype == torch.float32


def test_weights_can_lie_elsewhere_until_they_are_at_work(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", home="meta")
    parts = (model.unet, model.vae, *model.text_encoders)
    assert {part.device.type for part in parts} == {"meta"}
    assert model.device.type == "cpu"


def test_textual_inversions_of_the_host_can_be_called(folders: Folders, tiny_folder: Path) -> None:
    (folders.root / "embeddings" / "for another model.safetensors").write_bytes(b"?")
    save_file(
        {"clip_l": torch.ones(1, 32), "clip_g": torch.ones(1, 32)},
        folders.root / "embeddings" / "glow.v1.safetensors",
    )
    with host.use(folders):
        (model,) = LoadSDXL().run(str(tiny_folder), "fp32")
    assert torch.equal(model.inversions["glow.v1"].vectors[0], torch.ones(1, 32))


def test_a_model_that_somebody_holds_is_not_loaded_again(tiny_folder: Path) -> None:
    (model,) = LoadSDXL().run(str(tiny_folder), "fp32")
    assert LoadSDXL().run(str(tiny_folder), "fp32")[0] is model
    assert LoadSDXL().run(str(tiny_folder), "fp32", noise="epsilon")[0] is not model
    assert LoadSDXL().run(str(tiny_folder), "fp32", offload=True)[0] is not model
    forgotten = weakref.ref(model)
    del model
    gc.collect()
    assert forgotten() is None


def test_files_are_known_by_their_content(
    folders: Folders, tiny_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    config = copy / "scheduler" / "scheduler_config.json"
    lora, word = (
        folders.root / part for part in ("loras/style.safetensors", "embeddings/a.safetensors")
    )

    def prints() -> tuple[Any, ...]:
        return (
            LoadSDXL.IS_CHANGED(str(copy), dtype="fp32"),
            LoadSDXL.IS_CHANGED("demo", "fixed"),
            ApplyLora.IS_CHANGED("style.safetensors", strength_model=1.0),
        )

    with host.use(folders):
        first = prints()
        assert len(set(first)) == 3
        (model,) = LoadSDXL().run(str(copy), "fp32")
        for file in (config, lora):
            os.utime(file, (1, 1))
        assert prints() == first

        config.write_text(config.read_text("utf-8").replace("0.012", "0.013"), "utf-8")
        second = prints()
        assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, True]
        assert LoadSDXL().run(str(copy), "fp32")[0] is not model

        lora.write_bytes(lora.read_bytes() + b" ")
        assert [a == b for a, b in zip(second, prints(), strict=True)] == [True, True, False]

        word.write_bytes(b"new")
        assert [a == b for a, b in zip(second, prints(), strict=True)] == [False, False, False]


def test_what_is_missing_or_not_known_yet_is_no_error(folders: Folders) -> None:
    with host.use(folders):
        assert LoadSDXL.IS_CHANGED("none.safetensors", "none.safetensors")
        assert LoadSDXL.IS_CHANGED(str(folders.root), str(folders.root))
        assert ApplyLora.IS_CHANGED("none.safetensors") == ""
        assert ApplyLora.IS_CHANGED(None) == ""
    assert math.isnan(float(LoadSDXL.IS_CHANGED(None)))
