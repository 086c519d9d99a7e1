"""The picker in a real browser: what is clicked is what is saved."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SEEDS = [7, 2**64 - 1, 9, 10]
PROMPTS = ["a red cat", "a blue dog", "a green bird", "a white dog"]


def graph(prefix: str) -> dict[str, Any]:
    """Four images, of which none is picked yet."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("LoadSDXL", {"model_name": "demo", "dtype": "auto"}),
        "2": ("PromptList", {"text": "\n".join(PROMPTS), "negative_prompt": ""}),
        "3": ("SeedList", {"seeds": ", ".join(map(str, SEEDS))}),
        "4": ("BatchGenerate", {"model": ["1", 0], "prompts": ["2", 0], "seeds": ["3", 0]}),
        "5": ("SelectImages", {"images": ["4", 0], "rows": ["4", 1], "pick": ""}),
        "6": (
            "SaveImageBatch",
            {"images": ["5", 0], "rows": ["5", 1], "filename_prefix": prefix},
        ),
    }
    nodes["4"][1].update(width=128, height=128, steps=2, cfg=3.0, strength=1.0, combine="zip")
    nodes["4"][1].update(sampler_name="euler", scheduler="normal")
    return {
        key: {"class_type": f"BatchSDXL_{name}", "inputs": inputs, "_meta": {"title": name}}
        for key, (name, inputs) in nodes.items()
    }


@pytest.mark.parametrize("renderer", ["classic", "nodes2"])
def test_what_is_clicked_is_what_is_saved(
    comfyui: Any, browse: Any, renderer: str, tmp_path: Path
) -> None:
    comfyui.check_draws(renderer)
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(graph(f"picked/{renderer}")), "utf-8")
    seen = browse("picker.mjs", comfyui.url, str(file), renderer)

    assert seen["before"]["names"] == []
    assert "Run the workflow" in seen["before"]["status"]

    # Nothing picked: the run shows what there is, and leaves out what comes after.
    assert seen["firstRun"] == "execution_success"
    first = seen["afterFirstRun"]
    assert first["status"] == "Click the images to keep, then run again."
    assert first["names"] == [f"#{k} · seed {seed}" for k, seed in enumerate(SEEDS, 1)]
    assert first["prompts"] == PROMPTS
    assert first["picked"] == []

    assert seen["afterClicks"]["pick"] == "#2, #3"
    assert seen["afterClicks"]["picked"] == [2, 3]
    # Keys do nothing to the graph: no node is gone, muted, or there twice.
    for what in ("nodes", "pick", "picked", "focused"):
        assert seen["afterKeys"][what] == seen["afterClicks"][what]
    assert seen["secondRun"] == "execution_success"
    assert seen["afterSecondRun"]["picked"] == [2, 3]
    pick, batch = seen["afterSecondRun"]["values"]
    assert (pick, len(batch)) == ("#2, #3", 16)
    files = sorted((comfyui.base / "output" / "picked").glob(f"{renderer}_*.png"))
    records = []
    for path in files:
        with Image.open(path) as image:
            records.append(json.loads(image.info["batch_sdxl"])["request"])
    assert [(record["prompt"], record["seed"]) for record in records] == [
        (PROMPTS[k], SEEDS[k]) for k in (1, 2)
    ]

    picks = {
        "afterEscape": ("", []),
        "afterShiftEnter": ("#1..4", [1, 2, 3, 4]),
        "afterEnter": ("#1, #2, #4", [1, 2, 4]),
        "afterControlA": ("all", [1, 2, 3, 4]),
        "afterLargeView": ("#1, #3, #4", [1, 3, 4]),
        "afterEdit": ('"dog"', [2, 4]),
        "afterLoad": ('"dog"', [2, 4]),
        "afterReload": ('"dog"', [2, 4]),
        "afterLastClick": ("#1, #2, #4", [1, 2, 4]),
        "afterUndo": ('"dog"', [2, 4]),
    }
    assert {step: (seen[step]["pick"], seen[step]["picked"]) for step in picks} == picks
    assert seen["largeView"].startswith(f"#2 of 4 · seed {SEEDS[1]} · 128")
    assert seen["afterLargeView"]["focused"] == 2
    assert seen["missing"] == ["Run again to see this image."] * 4
    assert not seen["errors"]
