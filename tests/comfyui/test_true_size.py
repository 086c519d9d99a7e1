"""A true-size SDXL checkpoint through ComfyUI's own loader; some minutes, and much memory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from batch_sdxl.core.images.source import read_image
from batch_sdxl.core.saving.image_file import read_record
from batch_sdxl.tests.comfyui import true_size
from batch_sdxl.tests.comfyui.conftest import ComfyUI

pytestmark = pytest.mark.slow

NAME = "true.safetensors"

#: Bytes to be free, for ComfyUI with the weights in fp32: its own, and those of Load SDXL.
MEMORY, MEMORY_OF_OURS = 14 * 10**9, 16 * 10**9

#: Before rounding, of a range of 1.
CLOSE = 1e-4


def check_memory(needed: int) -> None:
    free = psutil.virtual_memory().available
    if free < needed:
        pytest.skip(f"needs {needed / 1e9:.0f} GB of free memory, {free / 1e9:.1f} GB are")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    check_memory(MEMORY)
    folder = tmp_path_factory.mktemp("true")
    free = shutil.disk_usage(folder).free
    if free < 1.1 * true_size.SIZE:
        pytest.skip(f"needs {1.1 * true_size.SIZE / 1e9:.0f} GB on disk, {free / 1e9:.1f} GB are")
    checkpoints = folder / "base" / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    try:
        true_size.write_checkpoint(checkpoints / NAME)
        words = Path(os.environ["COMFYUI_DIR"], "comfy", "sd1_tokenizer")
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(words / file, checkpoints)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BATCH_SDXL_STORE_GB", "0")  # so that none comes out of the store
            server = ComfyUI(folder / "base")
        yield server
        server.stop()
    finally:  # pytest keeps its folders for a while
        (checkpoints / NAME).unlink(missing_ok=True)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def make(server: ComfyUI, prompts: str, prefix: str, **loader: Any) -> list[Path]:
    """Files of an image for each prompt, all of one seed; of Load SDXL if that is given inputs."""
    graph = {
        "load": node("CheckpointLoaderSimple", ckpt_name=NAME),
        "model": node(
            "BatchSDXL_ModelFromComfyUI", model=["load", 0], clip=["load", 1], vae=["load", 2]
        ),
        "prompts": node("BatchSDXL_PromptList", text=prompts, negative_prompt="dim"),
        "seeds": node("BatchSDXL_SeedList", seeds="1"),
        "images": node(
            "BatchSDXL_BatchGenerate",
            model=["model", 0],
            prompts=["prompts", 0],
            seeds=["seeds", 0],
            width=256,
            height=256,
            steps=2,
            cfg=5.0,
            sampler_name="euler",
            scheduler="normal",
            strength=0.5,
            combine="product",
            unrounded=True,
            rows_per_call=2,
        ),
        "save": node(
            "BatchSDXL_SaveImageBatch",
            images=["images", 0],
            rows=["images", 1],
            filename_prefix=prefix,
            format="png 16 bit",
        ),
    }
    if loader:
        graph["model"] = node("BatchSDXL_LoadSDXL", model_name=NAME, **loader)
        del graph["load"]
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return server.files(entry)


def pixels(file: Path) -> Any:
    """In 0..1."""
    return np.asarray(read_image(file).pixels)


@pytest.fixture(scope="module")
def together(server: ComfyUI) -> list[Path]:
    return make(server, "a red circle\na blue star", "together")


def test_alone_as_in_company(server: ComfyUI, together: list[Path]) -> None:
    red, blue = map(pixels, together)
    assert np.abs(red - blue).max() > 0.1
    (alone,) = make(server, "a blue star", "alone")
    assert np.array_equal(pixels(alone), blue)
    assert read_record(alone) == read_record(together[1])


def test_images_are_those_of_load_sdxl(server: ComfyUI, together: list[Path]) -> None:
    said = read_record(together[0]).numerics
    if (said["dtype"], said["vae_dtype"]) != ("float32", "float32"):
        pytest.skip(f"ComfyUI computes in {said['dtype']} here")
    server.stop()  # both models would not fit
    check_memory(MEMORY_OF_OURS)
    server.start()
    ours = make(server, "a red circle\na blue star", "ours", dtype="fp32")
    for file, own in zip(together, ours, strict=True):
        assert np.abs(pixels(file) - pixels(own)).max() <= CLOSE
