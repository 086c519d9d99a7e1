"""What cannot end well is refused before a model is loaded, and what takes long is told."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core import Engine
from batch_sdxl.core.models import load
from batch_sdxl.core.store.chosen import GIGABYTES
from batch_sdxl.headless.cli.main import main
from batch_sdxl.host import display
from batch_sdxl.nodes import save_image_batch

BASE = ["generate", "--prompts", "a red circle"]
SMALL = ["--steps", "1", "--width", "64", "--height", "64"]

#: What is said -> options that lead to it.
REFUSED = [
    ("taken, a file", ["--seeds", "1", "--output", "taken"]),
    ("taken, a file", ["--seeds", "1", "--output", "taken/below"]),
    ("taken, a file", ["--seeds", "1", "--file-name", "taken/{seed}", "--output", "."]),
    ("a file_name that stays", ["--seeds", "1", "--file-name", "../up"]),
    ("a width of 8 to 16384", ["--seeds", "1", "--width", "1000000", "--height", "8"]),
    ("a number of seeds from 1 to 1,000,000", ["--seeds", "1..2000000"]),
    ("a LoRA, a .safetensors file", ["--seeds", "1", "--lora", "none.safetensors"]),
    ("lists of equal length", ["--seeds", "1..3", "--prompts", "prompts.txt"]),
    (
        "at most 1000 steps of euler with simple",
        ["--seeds", "1", "--scheduler", "simple", "--steps", "1001"],
    ),
    (
        "at most 999 steps of dpm_2 with simple",
        [
            *("--seeds", "1", "--scheduler", "simple", "--sampler-name", "dpm_2"),
            "--prompts",
            "long.csv",
        ],
    ),
    ("room for the files", ["--seeds", "1..9", "--width", "16384", "--height", "16384"]),
    (
        "1,200,000 of 2 prompts and 600,000 seeds (product)",
        ["--seeds", "1..600000", "--combine", "product", "--prompts", "prompts.txt"],
    ),
]

RUN = """
import json, shutil, sys
from types import SimpleNamespace
from batch_sdxl.headless.cli.main import main
shutil.disk_usage = lambda folder: SimpleNamespace(free=10**8)
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 1, arguments
    sys.stderr.write("---\\n")
assert "torch" not in sys.modules  # nor any model
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file in a folder's place, without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GIGABYTES, "0")
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    (tmp_path / "long.csv").write_text("prompt,steps\none,20\ntwo,1000\n")
    return tmp_path


def test_what_cannot_end_well_is_refused_before_torch_is_there(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    given = json.dumps(
        [[*BASE[: 1 if "--prompts" in options else None], *options] for _, options in REFUSED]
    )
    code = [sys.executable, "-c", RUN, given]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for said, (expected, _) in zip(done.stderr.split("---\n"), REFUSED, strict=False):
        assert expected in said
    assert sorted(folder.rglob("*")) == before


def test_a_prefix_outside_is_refused_too(
    folder: Path, api: Callable[..., Any], save: Callable[[Any], Path]
) -> None:
    graph = api(
        load=("BatchSDXL_LoadSDXL", {"model_name": "demo"}),
        prompts=("BatchSDXL_PromptList", {"text": "x"}),
        seeds=("BatchSDXL_SeedList", {"seeds": "1"}),
        make=(
            "BatchSDXL_BatchGenerate",
            {"model": ["load", 0], "prompts": ["prompts", 0], "seeds": ["seeds", 0]},
        ),
        save=(
            "BatchSDXL_SaveImageBatch",
            {"images": ["make", 0], "rows": ["make", 1], "filename_prefix": "../up"},
        ),
    )
    code = [sys.executable, "-c", RUN, json.dumps([["run", str(save(graph)), "--output", "out"]])]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a filename_prefix that stays below" in done.stderr


def test_a_large_run_says_first_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*BASE, *SMALL, "--seeds", "1..6", "--rows-per-call", "2"]
    assert main([*options, "--output", "few"]) == 0
    assert "are to come" not in capsys.readouterr().err
    for module in (display, save_image_batch):
        monkeypatch.setattr(module, "MANY", 5)
    assert main([*options, "--output", "many"]) == 0
    said = capsys.readouterr().err
    first = said.index("6 images are to come: their files take some 0.0 GB, and ")
    assert first < said.index("6 images: 1 prompt, 6 seeds") < said.index("It takes about ")


@pytest.mark.slow
def test_the_first_of_ten_thousand_images_is_begun_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    load_model = load.load_model

    def loaded(*args: Any, **named: Any) -> Any:
        model = load_model(*args, **named)
        times.append(time.process_time())
        return model

    def begun(*_: Any) -> Any:
        times.append(time.process_time())
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "load_model", loaded)
    monkeypatch.setattr(Engine, "_make_lane", begun)
    assert main([*BASE, *SMALL, "--seeds", "1..10000", "--output", "out"]) == 130
    first, second = times
    assert second - first < 3
