"""A person's way through ComfyUI with our nodes, in a real browser."""

import json
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest

PACK = Path(batch_sdxl.__file__).parent

#: Words that people type -> what they look for.
WORDS = {
    "prompt list": "Prompt List",
    "seed list": "Seed List",
    "image batch": "Load Image Batch",
    "batch generate": "Batch Generate",
    "contact": "Contact Sheet",
    "prompts": "Refine Prompts",
    "seeds": "Seed List",
    "save image": "Save Image Batch",
}

#: Words that are in no node's name, but in aliases or blueprints, which older versions do not know.
ALIASES = {
    "sdxl": "Load SDXL",
    "txt2img": "Batch Generate",
    "clip skip": "Prompt Settings",
    "image to image": "Image to Image (Batch SDXL)",
}


@pytest.mark.parametrize("renderer", ["classic", "nodes2"])
def test_from_the_first_search_to_a_template(
    comfyui_with_previews: Any, browse: Any, renderer: str, tmp_path: Path
) -> None:
    comfyui_with_previews.check_draws(renderer)
    titles = json.loads((PACK / "locales" / "en" / "main.json").read_text("utf-8"))
    examples: dict[str, str] = titles["batchSDXL"]["examples"]
    seen = browse(
        *("journey.mjs", comfyui_with_previews.url, renderer, str(tmp_path)),
        examples["text_to_image"],
    )

    assert {word: name for word, name in WORDS.items() if name in seen["words"][word]} == WORDS
    version = comfyui_with_previews.get("/system_stats")["system"]["comfyui_version"]
    if tuple(map(int, version.split(".")[:2])) >= (0, 8):
        found = {word: name for word, name in ALIASES.items() if name in seen["words"][word]}
        assert found == ALIASES

    own = [f"BatchSDXL_{name}" for name in ("SeedList", "LoadSDXL", "PromptList", "BatchGenerate")]
    assert seen["dragged"] == own[:1]
    assert seen["added"] == [*own, "PreviewImage"]
    assert seen["links"] == 4
    assert (seen["run"], seen["images"]) == ("execution_success", 4)

    # Sixteen images of 128 pixels, four a row.
    assert seen["preview"][0] == seen["preview"][1] >= 256
    assert " of 16 images" in seen["text"]
    assert seen["cancelled"] == "execution_interrupted"
    assert seen["runAfterCancel"] == "execution_success"

    assert "Seed List" in seen["help"]["headings"][0]
    assert any("Errors" in heading for heading in seen["help"]["headings"])
    assert seen["help"]["pictures"]
    assert all(seen["help"]["pictures"])

    assert seen["templates"]["titles"] == [*examples.values()]
    assert all(seen["templates"]["pictures"])
    assert "BatchSDXL_SaveImageBatch" in seen["fromTemplate"]
    if renderer == "nodes2":
        assert seen["promptsFit"]
        assert {"Save Image Batch", "About this workflow"} <= set(seen["titles"])
    assert seen["templateRun"] == "execution_success"
    assert (seen["refusedWidth"], seen["refusedRows"]) == ([["width"]], [["the node"]])
    assert not seen["errors"]
