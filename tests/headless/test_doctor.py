"""What `batch-sdxl doctor` says of this machine, of others, and of broken ones."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Geometry, Model
from batch_sdxl.core.models import footprint as footprints
from batch_sdxl.core.models.footprint import Footprint, LiveTensors, footprint
from batch_sdxl.core.models.load import open_model
from batch_sdxl.headless.cli import doctor
from batch_sdxl.headless.cli.diagnosis import WIDTH, to_text
from batch_sdxl.headless.cli.doctor import examine

Pretend = Callable[[float], None]

#: What `test_sdxl_itself_is_known` measures, and twice that.
SDXL = {
    torch.float16: Footprint(5_134_927_368, 1_635_440_640, 334_615_452, torch.float32, 159, 3072),
    torch.float32: Footprint(10_269_854_736, 3_270_881_280, 334_615_452, torch.float32, 318, 3072),
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """A GPU with so many gigabytes free, and SDXL, whose figures are known."""

    def pretend(gigabytes: float) -> None:
        free = int(gigabytes * 1e9)
        device = {"name": "cuda Some GPU", "memory": free, "free": free}
        monkeypatch.setattr(doctor, "_place", lambda: torch.device("cuda"))
        monkeypatch.setattr(doctor, "_device", lambda place: device)
        monkeypatch.setattr(footprints, "footprint", lambda source, dtype: SDXL[dtype])

    return pretend


def size_of(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def test_a_model_takes_what_it_takes_when_it_is_loaded(tiny_folder: Path, tiny: Model) -> None:
    report = examine(str(tiny_folder), "auto", None)
    assert report["possible"]
    assert report["problems"] == []
    told = report["model"]
    assert told["unet"] == size_of(tiny.unet)
    assert told["vae"] == size_of(tiny.vae)
    assert told["text_encoders"] == sum(map(size_of, tiny.text_encoders))
    assert told["native_size"] == tiny.native_size
    (asked,) = [entry for entry in report["sizes"] if entry["asked"]]
    assert (asked["width"], asked["height"], asked["rows"]) == (64, 64, 32)
    assert asked["fits_with"] == {}


@pytest.mark.parametrize("size", [64, 128])
def test_calls_take_what_was_foretold(tiny_folder: Path, tiny: Model, size: int) -> None:
    side = size // 8
    with torch.inference_mode(), LiveTensors() as unet:
        tiny.unet(
            torch.zeros(8, 4, side, side),
            torch.zeros(8),
            encoder_hidden_states=torch.zeros(8, 77, 64),
            added_cond_kwargs={"text_embeds": torch.zeros(8, 32), "time_ids": torch.zeros(8, 6)},
        )
    with torch.inference_mode(), LiveTensors() as vae:
        tiny.vae.decode(torch.zeros(1, 4, side, side))
    needs = footprint(open_model(tiny_folder), torch.float32)
    assert needs.unet_call * 8 * size**2 == pytest.approx(unet.peak, rel=0.2)
    assert needs.vae_call * size**2 == pytest.approx(vae.peak, rel=0.1)


def test_sdxl_itself_is_known() -> None:
    needs = footprint(None, torch.float16)
    assert needs.unet == 2 * 2_567_463_684 == SDXL[torch.float16].unet
    assert needs.text_encoders == 2 * (123_060_480 + 694_659_840)
    assert needs.text_encoders == SDXL[torch.float16].text_encoders
    assert needs.vae == 4 * 83_653_863 == SDXL[torch.float16].vae
    assert needs.vae_dtype == torch.float32
    assert needs.unet_call == pytest.approx(159, rel=0.01)
    whole, tiled = Geometry(8), Geometry(8, 512)
    # 12 bytes a pixel in 256 channels: a tensor, its normalised copy, and that activated.
    assert needs.vae_call == pytest.approx(3 * 256 * 4, rel=0.001)
    assert needs.peak(1024, 1024, whole) == pytest.approx(10.3e9, rel=0.01)
    assert needs.peak(1024, 1024, tiled) == pytest.approx(8.4e9, rel=0.01)
    assert needs.peak(1024, 1024, whole, offload=True) == pytest.approx(6.8e9, rel=0.01)


@pytest.mark.parametrize(
    ("gigabytes", "fits_with"),
    [
        (24, {}),
        (10, {"offload": True}),
        (7, None),
    ],
)
def test_a_gpu_is_told_what_to_set(gpu: Pretend, gigabytes: float, fits_with: Any) -> None:
    gpu(gigabytes)
    report = examine(None, "auto", (1024, 1024))
    (asked,) = [entry for entry in report["sizes"] if entry["asked"]]
    assert report["precision"]["dtype"] == "fp16"
    assert asked["fits_with"] == fits_with
    assert report["possible"] == (fits_with is not None)
    text = to_text(report)
    assert "with offload" in text
    assert ("offload of Load SDXL, for images of 1024 x 1024" in text) == (gigabytes == 10)
    assert ("Memory is too small" in text) == (gigabytes == 7)


def test_tiles_and_precision_come_after_offload(gpu: Pretend) -> None:
    gpu(9)
    (big,) = [e for e in examine(None, "auto", (2048, 2048))["sizes"] if e["asked"]]
    assert big["fits_with"] == {"offload": True, "vae_tile": 512}
    (full,) = [e for e in examine(None, "fp32", (1024, 1024))["sizes"] if e["asked"]]
    assert full["fits_with"] == {"dtype": "fp16", "offload": True}


def test_the_lines_are_aligned(tiny_folder: Path) -> None:
    broken = examine("nowhere", "auto", None)
    for report in (examine(str(tiny_folder), "bf16", (1152, 896)), broken):
        lines = to_text(report).splitlines()
        assert all(len(line) <= WIDTH and line == line.rstrip() for line in lines)
        table = [line for line in lines if line.startswith(("size ", "512 x ", "2048 x "))]
        assert len({line.index("whole") for line in table[1:]}) <= 1


def test_the_text_is_plain_whatever_terminal_it_is_for(
    gpu: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(9)
    report = examine(None, "fp32", (1024, 1024))
    text = to_text(report)
    (line,) = [line for line in text.splitlines() if line.startswith("2048 x 2048")]
    assert line.endswith("  with dtype fp16, offload, vae_tile 512")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert to_text(report) == text


def test_a_model_that_is_not_there_is_a_line() -> None:
    report = examine("nowhere", "auto", None)
    assert not report["possible"]
    assert report["device"]["free"] > 0
    assert report["precision"]
    assert report["model"] is None
    assert report["sizes"] is None
    assert "problem       Expected `demo`" in to_text(report)
    assert "no run is possible" in to_text(report)


def test_nothing_is_fetched(gpu: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    gpu(24)
    assert "of the hub, which is not on this machine; as SDXL: 13.9 GB" in to_text(
        examine("some/model", "fp32", None)
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    report = examine("some/model", "fp32", None)
    assert not report["possible"]
    assert "(HF_HUB_OFFLINE forbids downloads)" in to_text(report)


def test_weights_that_are_not_there_are_a_line(tiny_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_folder, tmp_path / "model")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (problem,) = examine(str(copy), "auto", None)["problems"]
    assert "no weights in .safetensors" in problem


def test_a_missing_package_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    report = examine(None, "auto", None)
    assert not report["possible"]
    (problem,) = report["problems"]
    assert "diffusers" in problem
    assert "pip" in problem
    assert report["device"]["threads"] == torch.get_num_threads()


BROKEN = """
import sys
from importlib.abc import MetaPathFinder

class Broken(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            raise OSError("libtorch.so: cannot open shared object file")

sys.meta_path.insert(0, Broken())
from batch_sdxl.headless.cli.main import main
sys.exit(main(["doctor"]))
"""


def test_a_broken_torch_is_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "problem       OSError: libtorch.so: cannot open shared object file" in done.stdout
    assert "device        unknown" in done.stdout
