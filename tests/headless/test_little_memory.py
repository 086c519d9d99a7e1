"""Where memory runs out, what is finished stays, and a run goes on as far as it may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core.engine.diffusers_backend import DiffusersBackend
from batch_sdxl.core.errors import OutOfMemory
from batch_sdxl.core.out_of_memory import OFFLOAD, ROWS, TILE
from batch_sdxl.core.saving.image_file import read_record
from batch_sdxl.core.store.chosen import GIGABYTES
from batch_sdxl.headless.cli import recipe
from batch_sdxl.headless.cli.ladder import easier
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.graph.catalog import installed
from PIL import Image

COMMAND = ["generate", "--prompts", "a red circle", "--seeds", "1..4", "--steps", "2"]
COMMAND += ["--width", "64", "--height", "64", "--rows-per-call", "4", "--output"]

#: Methods of the model's that a run of four images calls, two at a time -> calls that come before
#: the third image is there.
STAGES = {"encode_text": 5, "unet": 3, "decode": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GIGABYTES, "0")
    return tmp_path


def pixels(folder: Path) -> dict[str, bytes]:
    return {file.name: np.asarray(Image.open(file)).tobytes() for file in folder.glob("*.png")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A run with memory for all."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*COMMAND, str(folder), "--no-store"]) == 0
    return pixels(folder)


def short(
    monkeypatch: pytest.MonkeyPatch, stage: str, fails: Callable[[int, Any], bool]
) -> list[int]:
    """Have calls of a stage run out of memory, by their number and their first argument."""
    own = getattr(DiffusersBackend, stage)
    calls: list[int] = []

    def call(self: Any, given: Any, *args: Any, **named: Any) -> Any:
        calls.append(1)
        if fails(len(calls), given):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return own(self, given, *args, **named)

    monkeypatch.setattr(DiffusersBackend, stage, call)
    return calls


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_finished_stays_and_the_rest_is_tried_one_at_a_time(
    folder: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
) -> None:
    before = STAGES[stage]
    with monkeypatch.context() as patch:
        short(patch, stage, lambda number, _: number > before)
        assert main([*COMMAND, "out"]) == 1
    err = capsys.readouterr().err
    there = pixels(folder / "out")
    assert "can't allocate memory" in err
    assert "Memory is short. The others are made one at a time" in err
    assert "set `rows_per_call` to 2" in err
    assert "With --fit-memory a run goes on by itself" in err
    assert f"There is: 2 files in {folder / 'out'}. The same command" in err
    assert len(there) == 2
    # Once more, where it is short for a moment only.
    short(monkeypatch, stage, lambda number, _: number == before)
    assert main([*COMMAND, "again"]) == 0
    assert "made one at a time" in capsys.readouterr().err
    assert pixels(folder / "again") == expected
    assert there.items() <= expected.items()


def test_fewer_rows_are_taken_where_that_is_allowed_and_files_say_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both as many at a time as there is room for, and one at a time.
    short(monkeypatch, "decode", lambda number, _: number <= 2)
    assert main([*COMMAND, "out", "--fit-memory"]) == 0
    assert "The run goes on: rows_per_call of" in capsys.readouterr().err
    files = list((folder / "out").glob("*.png"))
    assert [read_record(file).numerics["rows"] for file in files] == [2] * 4


def test_what_changes_no_bits_needs_no_leave_and_makes_nothing_twice(
    folder: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = DiffusersBackend.decode
    made: list[bool] = []

    def decode(self: Any, *args: Any) -> Any:
        if len(made) >= 2 and not self.offload:
            told = OutOfMemory("more memory", "less", "Offload.")
            told.ways = (OFFLOAD,)
            raise told
        made.append(self.offload)
        return own(self, *args)

    monkeypatch.setattr(DiffusersBackend, "decode", decode)
    assert main([*COMMAND, "out"]) == 0
    assert "The run goes on: offload of" in capsys.readouterr().err
    assert made == [False, False, True, True]
    assert pixels(folder / "out") == expected


def test_the_ways_are_taken_in_order() -> None:
    catalog = installed()
    graph = recipe.graph(catalog, {"prompts": "x", "seeds": "1"}, [("a.safetensors", 1.0)])
    error = OutOfMemory("more", "less", "Do.")
    error.ways = (OFFLOAD, TILE, ROWS)
    taken = []
    while found := easier(graph, catalog, "5", error, may_change_bits=True):
        graph, said = found
        taken.append(said.split()[0])
    assert taken == ["offload", "vae_tile", "rows_per_call"]
    made, load = graph.nodes["5"].inputs, graph.nodes["1"].inputs
    assert (load["offload"], made["vae_tile"], made["rows_per_call"]) == (True, 512, 2)
    assert easier(graph, catalog, "5", error, may_change_bits=True) is None
    graph = recipe.graph(catalog, {"prompts": "x", "seeds": "1"})
    error.ways = (TILE, ROWS)
    assert easier(graph, catalog, "5", error, may_change_bits=False) is None
