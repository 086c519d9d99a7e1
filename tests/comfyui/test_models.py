"""Names of models in graphs that are sent to a real ComfyUI: its folders, and nowhere else."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

CACHED, UNKNOWN = "some-one/tiny-sdxl", "some-one/another"
COMMIT = "0123456789" * 4


@pytest.fixture(scope="module")
def server(
    comfyui: Any, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One with a model, also by a link, a LoRA, and a model in the hub's cache."""
    folder = tmp_path_factory.mktemp("models")
    models = folder / "base" / "models"
    shutil.copytree(tiny_folder, models / "diffusers" / "mine")
    (models / "loras").mkdir()
    (models / "vae").mkdir()
    lora = folder / "outside.safetensors"
    ones = {"lora_up": torch.ones(32, 1, 1, 1), "lora_down": torch.ones(1, 4, 3, 3)}
    save_file({f"lora_unet_conv_in.{n}.weight": t for n, t in ones.items()}, lora)
    (models / "loras" / "linked.safetensors").symlink_to(lora)
    (models / "embeddings").mkdir()
    (models / "embeddings" / "gone.safetensors").symlink_to(folder / "nothing")
    cached = folder / "hub" / f"models--{CACHED.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_folder, cached / "snapshots" / COMMIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        server = type(comfyui)(folder / "base")
    yield server
    server.stop()


def graph(model: str, lora: str | None = None, **inputs: Any) -> dict[str, Any]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("LoadSDXL", {"model_name": model, "dtype": "fp32", **inputs}),
        "2": ("PromptList", {"text": "x", "negative_prompt": ""}),
        "3": ("SeedList", {"seeds": "1"}),
        "4": ("BatchGenerate", {"model": ["1", 0], "prompts": ["2", 0], "seeds": ["3", 0]}),
        "5": (
            "SaveImageBatch",
            {"images": ["4", 0], "rows": ["4", 1], "filename_prefix": "models"},
        ),
    }
    kinds["4"][1].update(width=64, height=64, steps=1, cfg=1.0, strength=1.0, combine="zip")
    kinds["4"][1].update(sampler_name="euler", scheduler="normal")
    if lora is not None:
        strengths = {"strength_model": 1.0, "strength_clip": 1.0}
        kinds["6"] = ("ApplyLora", {"model": ["1", 0], "lora_name": lora, **strengths})
        kinds["4"][1]["model"] = ["6", 0]
    return {
        key: {"class_type": f"BatchSDXL_{name}", "inputs": own, "_meta": {"title": name}}
        for key, (name, own) in kinds.items()
    }


def refusal(server: Any, prompt: dict[str, Any]) -> str:
    """What a run is told that ends with an error of ours."""
    status = server.run(prompt)["status"]
    (told,) = [said for kind, said in status["messages"] if kind == "execution_error"]
    assert told["exception_type"] == "batch_sdxl.ModelNotFound", told
    return str(told["exception_message"])


def test_models_of_the_folders_and_of_the_cache_are_used(server: Any) -> None:
    below = server.base / "models" / "diffusers" / "mine"
    for number, prompt in enumerate(
        [graph("mine"), graph(str(below)), graph(CACHED), graph("mine", "linked.safetensors")]
    ):
        prompt["5"]["inputs"]["filename_prefix"] = f"used{number}"
        entry = server.run(prompt)
        assert entry["status"]["status_str"] == "success", (number, entry["status"])
        assert len(server.files(entry)) == 1


def test_models_elsewhere_are_refused(server: Any, tiny_folder: Path) -> None:
    folders = server.base / "models"
    relative = os.path.relpath(tiny_folder, folders / "checkpoints")
    for name in (str(tiny_folder), relative):
        told = refusal(server, graph(name))
        assert f"a model below {folders / 'checkpoints'}" in told
        assert json.dumps(name) in told
    assert 'Did you mean "mine"?' in refusal(server, graph("min"))


def test_nothing_is_fetched_from_the_hub_for_a_graph(server: Any) -> None:
    assert f"hf download {UNKNOWN}" in refusal(server, graph(UNKNOWN))


def test_other_files_elsewhere_are_refused(server: Any, tiny_folder: Path) -> None:
    vae = str(tiny_folder / "vae")
    folders = server.base / "models"
    assert f"a VAE below {folders / 'vae'}" in refusal(server, graph("demo", vae=vae))
    outside = str(server.base.parent / "outside.safetensors")
    told = refusal(server, graph("demo", outside))
    assert f"a LoRA below {folders / 'loras'}" in told
    assert outside in told
