"""What runs keep for each other, at the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from batch_sdxl.core.store.chosen import FOLDER, GIGABYTES
from batch_sdxl.headless.cli.main import main
from PIL import Image

SMALL = ["--steps", "1", "--width", "64", "--height", "64", "--combine", "product"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path / "store"))
    return tmp_path


def generate(seeds: str, output: str, *options: str) -> int:
    arguments = ["--prompts", "a red circle", "--seeds", seeds, "--output", output]
    return main(["generate", *arguments, *SMALL, *options])


def pixels(folder: Path) -> dict[str, bytes]:
    return {file.name: np.asarray(Image.open(file)).tobytes() for file in folder.glob("*.png")}


def test_images_are_made_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("1..3", "first", "--no-store") == 0
    assert not (folder / "store").exists()
    assert generate("1..2", "second") == 0
    capsys.readouterr()
    assert generate("1..3", "third") == 0
    assert "2 of 3 images from earlier runs" in capsys.readouterr().err
    assert pixels(folder / "third") == pixels(folder / "first")
    assert main(["store"]) == 0
    assert "3 images" in capsys.readouterr().out
    assert main(["store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3
    assert main(["store", "--clear"]) == 0
    assert capsys.readouterr().out.startswith("Removed: 3 images")
    assert not [*(folder / "store").rglob("*.safetensors")]


def test_its_limit_is_chosen(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(GIGABYTES, "0")
    assert generate("1", "out") == 0
    assert not (folder / "store").exists()
    assert main(["store"]) == 0
    monkeypatch.setenv(GIGABYTES, "much")
    assert generate("1", "out") == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written_costs_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "store").mkdir(mode=0o500)
    assert generate("1..2", "out") == 0
    assert capsys.readouterr().err.count("not kept for later runs") == 1
    assert len(pixels(folder / "out")) == 2
