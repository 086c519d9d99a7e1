"""`comfy run` (comfy-cli) runs the examples. COMFY_CLI names it, where it is not called `comfy`."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import batch_sdxl
import numpy as np
import pytest
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed
from PIL import Image

COMFY = os.environ.get("COMFY_CLI") or shutil.which("comfy")
#: Those that run without ComfyUI too.
EXAMPLES = [
    path
    for path in sorted((Path(batch_sdxl.__file__).parent / "example_workflows").glob("*.json"))
    if "ModelFromComfyUI" not in path.read_text("utf-8")
]

pytestmark = pytest.mark.skipif(COMFY is None, reason="comfy-cli is not there")


def comfy_run(server: Any, file: Path, home: Path) -> list[Path]:
    """The files that it has made, in order of their names."""
    host, port = server.url.removeprefix("http://").split(":")
    assert COMFY
    command = [COMFY, "--skip-prompt", "--json", "run", "--workflow", str(file), "--wait"]
    done = subprocess.run(
        [*command, "--host", host, "--port", port, "--timeout", "600"],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(home), "DO_NOT_TRACK": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])["data"]
    files: list[Path] = server.files(server.get(f"/history/{told['prompt_id']}")[told["prompt_id"]])
    return sorted(file for file in files if "temp" not in file.parts)  # without previews


def pixels(files: list[Path]) -> list[Any]:
    return [np.asarray(Image.open(file)) for file in files]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_the_pixels_they_have_without_comfyui(
    comfyui: Any, example: Path, tmp_path: Path
) -> None:
    theirs = comfy_run(comfyui, example, tmp_path)
    assert main(["run", str(example), "--output", str(tmp_path / "output")]) == 0
    ours = sorted((tmp_path / "output").rglob("*.*"))
    assert len(theirs) == len(ours) > 0
    assert all(map(np.array_equal, pixels(theirs), pixels(ours)))


def test_graphs_in_api_format_run(comfyui: Any, tmp_path: Path) -> None:
    graph = workflow.read(EXAMPLES[-1], installed()).api()
    (seeds,) = [n["inputs"] for n in graph.values() if n["class_type"] == "BatchSDXL_SeedList"]
    seeds["seeds"] = "123"
    (tmp_path / "graph.json").write_text(json.dumps(graph), "utf-8")
    files = comfy_run(comfyui, tmp_path / "graph.json", tmp_path)
    assert files
    assert all(file.stem.endswith("_seed123") for file in files)
