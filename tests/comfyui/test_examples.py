"""The pack in a real ComfyUI: it loads, and the same graph gives the same pixels."""

import json
from pathlib import Path
from typing import Any

import batch_sdxl
import numpy as np
import pytest
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed
from PIL import Image

#: Those that run without ComfyUI too.
EXAMPLES = [
    path
    for path in sorted((Path(batch_sdxl.__file__).parent / "example_workflows").glob("*.json"))
    if "ModelFromComfyUI" not in path.read_text("utf-8")
]


def pixels(files: list[Path]) -> list[Any]:
    return [np.asarray(Image.open(file)) for file in files]


def texts(file: Path) -> dict[str, Any]:
    with Image.open(file) as image:
        return {str(name): value for name, value in image.info.items()}


def test_all_nodes_are_ours(comfyui: Any) -> None:
    for name, title in batch_sdxl.NODE_DISPLAY_NAME_MAPPINGS.items():
        info = comfyui.get(f"/object_info/{name}")[name]
        assert info["display_name"] == title
        assert "batch-sdxl.1" in info["python_module"]
    assert "Traceback" not in comfyui.log.read_text("utf-8", "replace")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_the_same_pixels_as_without_comfyui(
    comfyui: Any, example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = workflow.read(example, installed()).api()
    entry = comfyui.run(prompt, json.loads(example.read_text("utf-8")))
    assert entry["status"]["status_str"] == "success", entry["status"]
    theirs = sorted(file for file in comfyui.files(entry) if "temp" not in file.parts)

    assert main(["run", str(example), "--output", str(tmp_path), "--json"]) == 0
    ours = sorted(Path(one["file"]) for one in json.loads(capsys.readouterr().out)["files"])
    assert [file.name for file in theirs] == [file.name for file in ours]
    assert all(map(np.array_equal, pixels(theirs), pixels(ours)))

    assert {"parameters", "prompt", "workflow"} <= set(texts(theirs[0]))
    assert json.loads(texts(theirs[0])["workflow"])["nodes"]
    assert main(["verify", *map(str, theirs)]) == 0
    assert capsys.readouterr().out.count("identical  ") == len(theirs)


def test_bad_values_are_refused_before_anything_runs(comfyui: Any) -> None:
    prompt = workflow.read(EXAMPLES[-1], installed()).api()
    (seeds,) = [n for n in prompt.values() if n["class_type"] == "BatchSDXL_SeedList"]
    seeds["inputs"]["seeds"] = "1, two"
    status, answer = comfyui.post("/prompt", {"prompt": prompt})
    assert status == 400
    assert "at line 1, character 4" in json.dumps(answer)


def test_nothing_is_told_where_metadata_is_disabled(comfyui_without_metadata: Any) -> None:
    prompt = workflow.read(EXAMPLES[-1], installed()).api()
    for node in prompt.values():
        if node["class_type"] == "BatchSDXL_SeedList":
            node["inputs"]["seeds"] = "1"
        if node["class_type"] == "BatchSDXL_BatchGenerate":
            node["inputs"]["steps"] = 1
    server = comfyui_without_metadata
    (file, *_) = server.files(server.run(prompt))
    with Image.open(file) as image:
        assert not image.text  # type: ignore[attr-defined]
