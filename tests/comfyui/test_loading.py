"""The pack where loading it is hard: a blank in its folder's name, and no diffusers."""

from pathlib import Path
from typing import Any

import batch_sdxl
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed

EXAMPLES = Path(batch_sdxl.__file__).parent / "example_workflows"


def api(example: str) -> dict[str, Any]:
    return workflow.read(EXAMPLES / f"{example}.json", installed()).api()


def test_all_nodes_are_there(comfyui_without_diffusers: Any) -> None:
    for name in batch_sdxl.NODE_CLASS_MAPPINGS:
        info = comfyui_without_diffusers.get(f"/object_info/{name}")[name]
        assert info["python_module"] == "custom_nodes.batch sdxl"
    log = comfyui_without_diffusers.log.read_text("utf-8", "replace")
    assert "IMPORT FAILED" not in log
    assert "Rename the folder `batch sdxl`" in log


def test_a_model_says_what_to_install(comfyui_without_diffusers: Any) -> None:
    entry = comfyui_without_diffusers.run(api("text_to_image"))
    (told,) = [said for kind, said in entry["status"]["messages"] if kind == "execution_error"]
    assert told["node_type"] == "BatchSDXL_LoadSDXL"
    assert told["exception_type"] == "batch_sdxl.MissingPackage"
    assert "diffusers>=0.42, got none (no diffusers here)" in told["exception_message"]
    assert "-m pip install -r " in told["exception_message"]


def test_what_needs_no_model_runs(comfyui_without_diffusers: Any) -> None:
    kept = ("BatchSDXL_LoadImageBatch", "BatchSDXL_PromptList", "BatchSDXL_SeedList")
    graph = {k: n for k, n in api("image_to_image").items() if n["class_type"] in kept}
    assert {node["class_type"] for node in graph.values()} == set(kept)
    (images,) = [k for k, n in graph.items() if n["class_type"] == "BatchSDXL_LoadImageBatch"]
    inputs = {"images": [images, 0], "filename_prefix": "kept"}
    graph["save"] = {"class_type": "SaveImage", "inputs": inputs, "_meta": {"title": "Save Image"}}
    entry = comfyui_without_diffusers.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert len(comfyui_without_diffusers.files(entry)) == 4
