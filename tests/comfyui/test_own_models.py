"""Models of ComfyUI's own loaders in the engine: as with Load SDXL, as in ComfyUI, as promised."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.tests.comfyui.conftest import importable
from safetensors.torch import save_file

#: Before rounding, of a range of 1.
CLOSE = 1e-4

MIDDLE = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a script in ComfyUI's interpreter saw."""
    folder = tmp_path_factory.mktemp("own")
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw) / 3

    lokr = {f"{MIDDLE}q.lokr_w1": drawn(4, 4), f"{MIDDLE}q.lokr_w2": drawn(24, 24)}
    dora = {
        f"{MIDDLE}v.lora_up.weight": drawn(96, 4),
        f"{MIDDLE}v.lora_down.weight": drawn(4, 96),
        f"{MIDDLE}v.alpha": torch.tensor(2.0),
        f"{MIDDLE}v.dora_scale": drawn(1, 96).abs() + 0.5,
    }
    for name, tensors in {"lokr": lokr, "dora": dora}.items():
        save_file(tensors, folder / f"{name}.safetensors")
    words = {"clip_l": drawn(2, 64), "clip_g": drawn(2, 96)}
    save_file(words, folder / "word.safetensors")
    comfyui = os.environ["COMFYUI_DIR"]
    here = Path(__file__).parent
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    paths = [comfyui, str(here), importable(folder)]
    process = subprocess.run(
        [python, str(here / "own_models_script.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "2"},
        cwd=comfyui,
        capture_output=True,
        encoding="utf-8",
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return json.loads((folder / "seen.json").read_text("utf-8"))


def test_images_are_those_of_load_sdxl(seen: Any) -> None:
    assert len(seen["parity"]) == 4
    assert max(seen["parity"].values()) <= CLOSE, seen["parity"]


@pytest.mark.parametrize("kind", ["lokr", "dora"])
def test_loras_of_stock_loaders_take_part(seen: Any, kind: str) -> None:
    assert seen["loras"][kind]["against ours"] <= CLOSE
    assert seen["loras"][kind]["against none"] > 0.01


def test_images_are_those_of_comfyuis_own_sampler(seen: Any) -> None:
    assert len(seen["stock"]) == 7
    assert max(seen["stock"].values()) <= CLOSE, seen["stock"]


def test_alone_as_in_company(seen: Any) -> None:
    assert len(seen["promise"]) == 5
    assert all(same == [True] * 4 for same in seen["promise"].values()), seen["promise"]


def test_identity_is_that_of_the_content(seen: Any) -> None:
    digests = seen["digests"]
    assert digests["again"] == digests["plain"] == digests["after runs"]
    kinds = ("plain", "lokr", "dora", "FreeU", "FreeU less", "clip 3", "wrapper")
    others = [digests[name] for name in kinds]
    assert len({*others}) == len(others)
    assert digests["FreeU"] == digests["FreeU again"]
    assert digests["lokr"] == digests["lokr again"]


def test_what_cannot_be_promised_is_refused_by_name_or_marked(seen: Any) -> None:
    for kind, (told, marked) in seen["unpromised"].items():
        assert told.startswith("Expected"), kind
        assert "turn on `unpromised`" in told
        assert len(marked) == 1
        assert marked[0] in told
    assert "takes a row" in seen["unpromised"]["couples"][0]
    assert ".couples" in seen["unpromised"]["couples"][0]
    assert "list_iterator" in seen["unpromised"]["opaque"][0]
    assert "keep nothing" in seen["unpromised"]["SAG"][0]
    assert "keeps nothing from one image to the next" in seen["unpromised"]["APG"][0]
    assert "a UNetModel under torch.compile" in seen["unpromised"]["compiled"][0]


def test_what_is_compiled_runs_where_nothing_is_promised(seen: Any) -> None:
    assert seen["compiled"] <= CLOSE


def test_other_families_are_refused_by_name(seen: Any) -> None:
    told = seen["refused"]
    assert "an SDXL model, got a BaseModel" in told["SD 1.5"]
    assert "SDXL of 9 input channels" in told["inpainting"]
    assert "LCM" in told["lcm"]
    assert "CLIP" in told["clip"]
    assert "VAE" in told["vae"]
    assert "easycache_sample_wrapper" in told["cache"]


def test_a_checkpoint_is_what_comfyuis_own_loader_takes_it_for(seen: Any) -> None:
    assert seen["detected"]["kind"] == "Segmind_Vega"
    assert 0 < seen["detected"]["size"] < 100
    assert seen["detected"]["difference"] < CLOSE * seen["detected"]["size"]


def test_textual_inversions_are_comfyuis(seen: Any) -> None:
    assert "embedding:nothing" in seen["inversions"]["missing"]
    assert {*seen["inversions"]["record"]} == {"word"}
    assert seen["inversions"]["difference"] > 0.01
