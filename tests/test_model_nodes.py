"""Load SDXL and Apply LoRA find files where the host has them."""

from pathlib import Path

import pytest
import torch
from batch_sdxl.core import Model
from batch_sdxl.nodes import host
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


@pytest.fixture
def folders(tmp_path: Path, tiny: Model, tiny_folder: Path) -> Folders:
    for kind in ("vae", "loras"):
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
