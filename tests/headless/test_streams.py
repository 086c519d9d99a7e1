"""Files are there as soon as their images are, wherever each image goes its way alone."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core import whole_files
from batch_sdxl.core.engine import diffusers_backend
from batch_sdxl.core.models import vae
from batch_sdxl.core.saving import new_files
from batch_sdxl.core.store.chosen import GIGABYTES
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.graph.stand_ins import ImageScaleBy
from batch_sdxl.host.image_batches import ImageBatches
from batch_sdxl.host.rendering import Rendering
from batch_sdxl.nodes.batch_generate import BatchGenerate
from PIL import Image

Json = dict[str, Any]
Api = Callable[..., Json]
Save = Callable[[Any], Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GIGABYTES, "0")
    return tmp_path


@pytest.fixture
def seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files there are whenever an image is about to be decoded."""
    counts: list[int] = []
    decode = vae.decode

    def counting(*args: Any) -> Any:
        counts.append(len(list(folder.rglob("b*.png"))))
        return decode(*args)

    monkeypatch.setattr(diffusers_backend, "decode", counting)
    return counts


@pytest.fixture
def graph(api: Api) -> Json:
    return api(
        load=("BatchSDXL_LoadSDXL", {"model_name": "demo"}),
        prompts=("BatchSDXL_PromptList", {"text": "a red circle\na blue square"}),
        seeds=("BatchSDXL_SeedList", {"seeds": "1..2"}),
        make=(
            "BatchSDXL_BatchGenerate",
            {
                "model": ["load", 0],
                "prompts": ["prompts", 0],
                "seeds": ["seeds", 0],
                "width": 64,
                "height": 64,
                "steps": 1,
                "combine": "product",
            },
        ),
        save=("BatchSDXL_SaveImageBatch", {"images": ["make", 0], "rows": ["make", 1]}),
    )


def contents(folder: Path) -> dict[str, Any]:
    return {file.name: np.asarray(Image.open(file)).tobytes() for file in folder.rglob("*.png")}


def run(save: Save, graph: Json, output: str = "out", *options: str) -> dict[str, Any]:
    assert main(["run", str(save(graph)), "--output", output, *options]) == 0
    return contents(Path(output))


def test_each_file_is_there_before_the_next_image(
    save: Save, graph: Json, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Rendering, "collect", None)  # no batch is held
        files = run(save, graph)
    assert seen == [0, 1, 2, 3]
    monkeypatch.delattr(BatchGenerate, "GIVES")
    assert run(save, graph, "plain") == files
    assert list(files)
    assert sorted(files)[0] == "batch_00001_seed1.png"


def test_what_needs_the_whole_batch_waits(
    save: Save, graph: Json, api: Api, seen: list[int]
) -> None:
    graph |= api(
        sheet=("BatchSDXL_ContactSheet", {"images": ["make", 0], "rows": ["make", 1]}),
        one=("SaveImage", {"images": ["sheet", 0], "filename_prefix": "sheet"}),
    )
    files = run(save, graph)
    assert seen == [0, 1, 2, 3]
    assert len(files) == 5


def test_a_selection_waits(save: Save, graph: Json, api: Api, seen: list[int]) -> None:
    graph |= api(
        pick=(
            "BatchSDXL_SelectImages",
            {"images": ["make", 0], "rows": ["make", 1], "pick": "#2, #3"},
        ),
        save=("BatchSDXL_SaveImageBatch", {"images": ["pick", 0], "rows": ["pick", 1]}),
    )
    assert len(run(save, graph)) == 2
    assert seen == [0, 0, 0, 0]


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"])
def test_nodes_that_work_on_each_image_alone_are_no_hindrance(
    save: Save, graph: Json, api: Api, seen: list[int], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph |= api(
        large=("ImageScaleBy", {"image": ["make", 0], "upscale_method": method, "scale_by": 1.5}),
        save=("BatchSDXL_SaveImageBatch", {"images": ["large", 0], "rows": ["make", 1]}),
    )
    files = run(save, graph)
    assert seen == [0, 1, 2, 3]
    monkeypatch.delattr(ImageScaleBy, "EACH_ALONE")
    assert run(save, graph, "plain") == files
    assert seen[4:] == [4, 4, 4, 4]


def test_larger_copies_of_saved_files_are_verified(
    save: Save, graph: Json, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**graph["make"]["inputs"], "combine": "zip", "width": 0, "height": 0, "steps": 2}
    del settings["seeds"]
    graph["prompts"]["inputs"]["text"] = "a red circle"
    graph["seeds"]["inputs"]["seeds"] = "1"
    graph |= api(
        large=(
            "ImageScaleBy",
            {"image": ["make", 0], "upscale_method": "lanczos", "scale_by": 1.5},
        ),
        again=(
            "BatchSDXL_BatchGenerate",
            settings | {"prompts": ["refine", 0], "images": ["large", 0], "names": ["save", 0]},
        ),
        refine=(
            "BatchSDXL_RefinePrompts",
            {"rows": ["make", 1], "way": "replace", "text": "a star"},
        ),
        larger=(
            "BatchSDXL_SaveImageBatch",
            {"images": ["again", 0], "rows": ["again", 1], "filename_prefix": "larger"},
        ),
    )
    assert len(run(save, graph)) == 2
    assert main(["verify", "out/larger_00001_seed1.png"]) == 0
    assert "identical  " in capsys.readouterr().out
    with Image.open("out/larger_00001_seed1.png") as image:
        record = json.loads(image.info["batch_sdxl"])
    assert record["request"]["image"]["name"] == "batch_00001_seed1.png"


def test_the_same_run_again_completes_the_folder(
    save: Save, graph: Json, api: Api, seen: list[int], folder: Path
) -> None:
    files = run(save, graph)
    times = {file: file.stat().st_mtime_ns for file in (folder / "out").iterdir()}
    third = folder / "out" / "batch_00003_seed1.png"
    third.unlink()
    assert run(save, graph) == files
    assert len(seen) == 5  # one of them was made again, without any store
    assert {f: f.stat().st_mtime_ns for f in times if f != third} == {
        f: time for f, time in times.items() if f != third
    }
    assert len(run(save, graph, "out", "--anew")) == 8


def test_what_went_through_another_node_is_not_taken_for_the_image_itself(
    save: Save, graph: Json, api: Api
) -> None:
    first = run(save, graph)
    graph |= api(
        large=(
            "ImageScaleBy",
            {"image": ["make", 0], "upscale_method": "bilinear", "scale_by": 2.0},
        ),
        save=("BatchSDXL_SaveImageBatch", {"images": ["large", 0], "rows": ["make", 1]}),
    )
    assert len(run(save, graph)) == 8
    assert first.items() <= run(save, graph).items()
    assert len(run(save, graph)) == 8


def test_rows_that_fail_are_told_and_the_others_are_there(
    save: Save,
    graph: Json,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decode = vae.decode
    calls: list[int] = []

    def spoiled(model: Any, latents: Any, tile: Any) -> Any:
        calls.append(1)
        return decode(model, latents * (float("nan") if len(calls) == 2 else 1), tile)

    monkeypatch.setattr(diffusers_backend, "decode", spoiled)
    workflow = str(save(graph))
    arguments = ["run", workflow, "--output", "out", "--set", "make.on_error=skip", "--json"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert len(report["files"]) == len(contents(folder / "out")) == 3
    (failed,) = report["failed"]
    assert failed["row"]["request"]["seed"] == 2
    assert "NaN" in failed["error"]
    assert "image 2 of 4 (seed 2): Expected finite numbers" in err

    calls.clear()
    assert main(["run", workflow, "--output", "stopped"]) == 1
    assert "image 2 of 4 (seed 2)" in capsys.readouterr().err
    assert len(contents(folder / "stopped")) == 1


def test_a_disk_that_gets_full_leaves_what_is_finished(
    save: Save,
    graph: Json,
    folder: Path,
    seen: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = whole_files.write_beside

    def full(path: Path, content: bytes) -> bool:
        if len(list(folder.rglob("b*.png"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(new_files, "write_beside", full)
        assert main(["run", str(save(graph)), "--output", "out"]) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert "Save Image Batch" in err
    assert f"There is: 2 files in {folder / 'out'}. The same command" in err
    assert len(contents(folder / "out")) == 2
    assert len(run(save, graph)) == 4
    assert len(seen) == 5  # the one that could not be written is made again, and the last


@pytest.mark.parametrize(("times", "files"), [(1, 2), (2, 1)])
def test_the_first_request_to_stop_waits_for_what_is_nearly_done_the_second_for_nothing(
    save: Save,
    graph: Json,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    times: int,
    files: int,
) -> None:
    decode = vae.decode
    calls: list[int] = []

    def stopped(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == times:  # of two images whose steps are done
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGTERM)
        return decode(*args)

    monkeypatch.setattr(diffusers_backend, "decode", stopped)
    graph["make"]["inputs"]["rows_per_call"] = 4
    graph["save"]["inputs"]["page"] = True
    assert main(["run", str(save(graph)), "--output", "out"]) == 130
    err = capsys.readouterr().err
    assert err.count("once more stops at once") == 1
    counted = f"{files} file{'s' if files > 1 else ''} in {folder / 'out'}. The same command goes"
    assert f"Stopped. {counted}" in err
    assert len(contents(folder / "out")) == files
    page = folder / "out" / "index.html"
    assert page.exists() == (times == 1)
    assert times == 2 or page.read_text().count('<li><a href="./batch_') == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("how", ["full", "closed", "none"])
def test_a_terminal_that_takes_nothing_ends_no_run(
    save: Save, graph: Json, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = stack.enter_context(open("/dev/full", "w"))
            if how == "closed":
                stream.close()
            monkeypatch.setattr(sys, name, None if how == "none" else stream)
        assert main(["run", str(save(graph)), "--output", "out"]) == 0
    assert len(contents(folder / "out")) == 4


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what is kept in memory for nodes that read it later."""
    shapes: list[tuple[int, ...]] = []
    put = ImageBatches.put

    def noting(self: ImageBatches, index: int, image: Any) -> None:
        shapes.append(image.shape)
        put(self, index, image)

    monkeypatch.setattr(ImageBatches, "put", noting)
    return shapes


def test_what_nobody_reads_is_not_held(
    graph: Json, save: Save, held: list[tuple[int, ...]]
) -> None:
    """A second pass from the latents of a first, whose images are saved as they are made."""
    graph["again"] = json.loads(json.dumps(graph["make"]))
    graph["again"]["inputs"] |= {"latents": ["make", 2], "combine": "zip", "steps": 2, "width": 0}
    graph["again"]["inputs"] |= {"height": 0, "seeds": ["four", 0], "prompts": ["one", 0]}
    graph["four"] = {"class_type": "BatchSDXL_SeedList", "inputs": {"seeds": "1..4"}}
    graph["one"] = {"class_type": "BatchSDXL_PromptList", "inputs": {"text": "a red circle"}}
    graph["save again"] = json.loads(json.dumps(graph["save"]))
    graph["save again"]["inputs"] = {
        "images": ["again", 0],
        "rows": ["again", 1],
        "filename_prefix": "again",
    }
    run(save, graph)
    assert held == [(4, 8, 8)] * 4
    assert len([*Path("out").rglob("again*.png")]) == 4
    held.clear()
    del graph["again"], graph["save again"], graph["four"], graph["one"]
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["make", 0]}}
    run(save, graph, "stock")
    assert held == [(64, 64, 3)] * 4
