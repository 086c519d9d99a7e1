"""Workflows of strangers: no network, no file outside, and no name of whoever runs them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.models import hub
from batch_sdxl.headless.cli.main import main
from batch_sdxl.host.roots import with_home, without_home
from PIL import Image

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that the hub was asked for."""
    names: list[str] = []

    def fetch(name: str, **_: Any) -> Path:
        names.append(name)
        raise ConnectionError

    monkeypatch.setattr(hub, "list_files", fetch)
    return names


def graph(model: str, **inputs: Any) -> Json:
    kinds = {
        "1": ("LoadSDXL", {"model_name": model, **inputs}),
        "2": ("PromptList", {"text": "x"}),
        "3": ("SeedList", {"seeds": "1"}),
        "5": (
            "BatchGenerate",
            {
                "model": ["1", 0],
                "prompts": ["2", 0],
                "seeds": ["3", 0],
                "steps": 1,
                "cfg": 1,
                "width": 64,
                "height": 64,
            },
        ),
        "6": ("SaveImageBatch", {"images": ["5", 0], "rows": ["5", 1]}),
    }
    return {
        key: {"class_type": f"BatchSDXL_{kind}", "inputs": own}
        for key, (kind, own) in kinds.items()
    }


def test_hub_is_asked_on_a_persons_word_only(
    save: Callable[[Any], Path], asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(save(graph("someone/some-model")))
    assert main(["run", file]) == 1
    assert "--download" in capsys.readouterr().err
    assert asked == []
    with pytest.raises(ConnectionError):
        main(["run", file, "--download"])
    with pytest.raises(ConnectionError):
        main(["run", file, "--set", "1.model_name=another/model"])
    assert asked == ["someone/some-model", "another/model"]


@pytest.mark.parametrize("way", ["absolute", "relative", "link"])
def test_model_outside_is_not_touched(
    save: Callable[[Any], Path],
    tiny_folder: Path,
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}_secret"
    shutil.copytree(tiny_folder, secret)
    (folder / "link").symlink_to(secret)
    name = {"absolute": str(secret), "relative": f"../../{secret.name}", "link": "link"}[way]
    file = str(save(graph(name)))
    assert main(["run", file]) == 1
    there = capsys.readouterr().err
    shutil.rmtree(secret)
    assert main(["run", file]) == 1
    # Not even whether it is there is told.
    assert capsys.readouterr().err == there
    assert "--allow DIR" in there


def test_model_is_taken_where_allowed_or_named(
    save: Callable[[Any], Path], tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(save(graph(str(tiny_folder))))
    assert main(["run", file, "--allow", str(tiny_folder.parent)]) == 0
    assert main(["run", file, "--set", f"1.model_name={tiny_folder}"]) == 0
    capsys.readouterr()
    assert main(["run", str(save(graph("demo", vae="/etc/passwd")))]) == 1
    assert "a file for vae below" in capsys.readouterr().err


def test_files_do_not_tell_the_home_folder(
    save: Callable[[Any], Path],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "somebody"
    shutil.copytree(tiny_folder, home / "models" / "mine")
    monkeypatch.setenv("HOME", str(home))
    command = ["generate", "--prompts", "x", "--seeds", "1", "--steps", "1", "--json"]
    assert main([*command, "--model", str(home / "models" / "mine"), "--cfg", "1"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["files"]
    with Image.open(one["file"]) as image:
        texts = dict(image.info)
    assert "somebody" not in str(texts)
    assert json.loads(texts["prompt"])["1"]["inputs"]["model_name"] == "~/models/mine"
    # There it still means the same.
    assert main(["run", one["file"], "--allow", str(home / "models"), "--output", "again"]) == 0


def test_home_is_hidden_in_paths_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    given = {"a": ["/home/ann/x", "/home/anna/x", "/mnt/home/ann/x", 3], "b": "x\n/home/ann\ny"}
    hidden = {"a": ["~/x", "/home/anna/x", "/mnt/home/ann/x", 3], "b": "x\n~\ny"}
    assert without_home(given) == hidden
    assert with_home("~/x") == "/home/ann/x"
    assert without_home("file:///home/ann/x") == "file://~/x"
    monkeypatch.setenv("HOME", "/")
    assert without_home(given) == given


def test_home_that_is_a_link_is_hidden_by_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "disk" / "ann"
    real.mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "ann"))
    assert without_home([f"{real}/x", f"{tmp_path}/home/ann/x"]) == ["~/x", "~/x"]
