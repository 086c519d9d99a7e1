"""Choosing in a real ComfyUI: what is picked is what was shown."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def job(seeds: str, steps: int = 2, **seed_list: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"width": 0, "height": 0, "steps": steps, "cfg": 3.0}
    settings |= {"sampler_name": "euler", "scheduler": "normal", "strength": 0.5}
    return {
        "m": node("BatchSDXL_LoadSDXL", model_name="demo", dtype="fp32"),
        "p": node("BatchSDXL_PromptList", text="a red circle", negative_prompt=""),
        "s": node("BatchSDXL_SeedList", seeds=seeds, **seed_list),
        "g": node(
            "BatchSDXL_BatchGenerate",
            model=["m", 0],
            prompts=["p", 0],
            seeds=["s", 0],
            combine="product",
            **settings,
        ),
    }


def choosing(seeds: str, pick: str, prefix: str, clicked_in: str = "", **more: Any) -> Any:
    """A graph that saves what is picked."""
    rows = {"images": ["g", 0], "rows": ["g", 1]}
    return job(seeds, **more) | {
        "c": node("BatchSDXL_SelectImages", **rows, pick=pick, clicked_in=clicked_in),
        "w": node(
            "BatchSDXL_SaveImageBatch",
            images=["c", 0],
            rows=["c", 1],
            filename_prefix=prefix,
        ),
    }


def shown(server: Any, entry: dict[str, Any]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The gallery's images, and what else the node says."""
    said = json.loads(entry["outputs"]["c"]["batch_sdxl_gallery"][0])
    return server.get(f"/batch_sdxl/gallery/{said['list']}")["images"], said


def saved_seeds(server: Any, entry: dict[str, Any]) -> list[int]:
    seeds = []
    for path in server.files(entry):
        with Image.open(path) as image:
            seeds.append(json.loads(image.info["batch_sdxl"])["request"]["seed"])
    return seeds


def succeeded(entry: dict[str, Any]) -> bool:
    return bool(entry["status"]["status_str"] == "success")


@pytest.fixture
def own(comfyui: Any, tmp_path: Path) -> Iterator[Any]:
    """A server of the test's own, to be started again."""
    server = type(comfyui)(tmp_path / "base")
    yield server
    server.stop()


def test_a_draw_stays_what_was_shown(comfyui: Any) -> None:
    first = comfyui.run(choosing("-1 * 4", "", "drawn"))
    assert succeeded(first)  # it stopped without an error
    images, said = shown(comfyui, first)
    assert said["picked"] == []
    assert "w" not in first["outputs"]
    picked = comfyui.run(choosing("-1 * 4", "#2", "drawn"))
    assert saved_seeds(comfyui, picked) == [int(images[1]["seed"])]
    other, _ = shown(comfyui, comfyui.run(choosing("-1 * 4", "", "drawn", batch=1)))
    assert not {image["seed"] for image in other} & {image["seed"] for image in images}


def test_what_was_clicked_in_another_batch_is_not_saved(comfyui: Any) -> None:
    _, said = shown(comfyui, comfyui.run(choosing("1..3", "", "clicked")))
    batch = said["batch"]
    again = comfyui.run(choosing("1..3", "#2", "clicked", batch, steps=3))
    assert saved_seeds(comfyui, again) == [2]
    other = comfyui.run(choosing("4..6", "#2", "clicked", batch))
    assert succeeded(other)
    assert "w" not in other["outputs"]
    images, said = shown(comfyui, other)
    assert [image["seed"] for image in images] == ["4", "5", "6"]
    assert saved_seeds(comfyui, comfyui.run(choosing("4..6", "#2", "clicked", said["batch"]))) == [
        5
    ]


def test_a_failed_choice_says_first_what_to_do(comfyui: Any) -> None:
    failed = comfyui.run(choosing("1..3", "seed 9", "failed"))
    (message,) = (m for kind, m in failed["status"]["messages"] if kind == "execution_error")
    assert message["exception_message"].strip() == (
        "Expected images to pick that are there, got 'seed 9', which is not. "
        "Click the images to keep, or pick one of these: seed 1, seed 2, seed 3."
    )


def test_seeds_of_a_stock_node_connect(comfyui: Any) -> None:
    graph = choosing("1..4", "all", "stock", numbers=["i", 0])
    graph["i"] = node("PrimitiveInt", value=77)
    assert saved_seeds(comfyui, comfyui.run(graph)) == [77]


def test_a_link_into_an_input_of_another_version_is_refused_in_words(comfyui: Any) -> None:
    graph = job("1", masks_of_tomorrow=["e", 0]) | {
        "e": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "v": node("PreviewImage", images=["g", 0]),
    }
    failed = comfyui.run(graph)
    (message,) = (m for kind, m in failed["status"]["messages"] if kind == "execution_error")
    assert "got a link into masks_of_tomorrow, which it has not" in message["exception_message"]


def test_one_seed_more_costs_one_image(comfyui: Any) -> None:
    def made(seeds: str) -> list[str]:
        before = {path.name for path in store.rglob("*.safetensors")}
        graph = job(seeds) | {"v": node("PreviewImage", images=["g", 0])}
        assert succeeded(comfyui.run(graph))
        return sorted({path.name for path in store.rglob("*.safetensors")} - before)

    store = comfyui.base / "user" / "batch_sdxl" / "store"
    assert len(made("601..608")) == 8
    assert len(made("601..609")) == 1
    assert made("601..608") == []


def test_images_of_stock_nodes_are_chosen_and_saved_with_what_is_told_of_them(
    comfyui: Any,
) -> None:
    graph = {
        "i": node("EmptyImage", width=64, height=64, batch_size=3, color=255),
        "p": node("BatchSDXL_PromptList", text="a cat\na dog\nan owl", negative_prompt=""),
        "s": node("BatchSDXL_SeedList", seeds="7..9"),
        "c": node(
            "BatchSDXL_SelectImages",
            images=["i", 0],
            prompts=["p", 0],
            seeds=["s", 0],
            pick='"owl", #1',
        ),
        "w": node(
            "BatchSDXL_SaveImageBatch",
            images=["c", 0],
            rows=["c", 1],
            filename_prefix="other/told",
        ),
        "n": node("BatchSDXL_SaveImageBatch", images=["i", 0], filename_prefix="other/bare"),
    }
    entry = comfyui.run(graph)
    files = [Path(path).name for path in map(str, comfyui.files(entry))]
    assert sorted(files) == [
        *("bare_00001.png", "bare_00002.png", "bare_00003.png"),
        *("told_00001_seed9.png", "told_00002_seed7.png"),
    ]
    with Image.open(comfyui.base / "output" / "other" / "told_00001_seed9.png") as image:
        assert image.info["parameters"].startswith("an owl\nSeed: 9")


def test_a_restart_keeps_draw_gallery_and_what_is_done(own: Any, comfyui: Any) -> None:
    first = own.run(choosing("-1 * 4", "", "restart"))
    images, said = shown(own, first)
    own.stop()
    shutil.rmtree(own.base / "temp", ignore_errors=True)  # as its start does
    own.start()
    place = f"{own.url}/batch_sdxl/gallery/{said['list']}"
    for image in images:
        with Image.open(own.fetch(f"{place}/{image['thumbnail']}")) as picture:
            assert picture.size == (128, 128)
    done = len(list(own.base.rglob("store/**/*.safetensors")))
    picked = own.run(choosing("-1 * 4", "#2", "restart", said["batch"]))
    assert saved_seeds(own, picked) == [int(images[1]["seed"])]
    assert len(list(own.base.rglob("store/**/*.safetensors"))) == done


def test_seed_list_does_after_a_run_what_a_seed_widget_does(
    comfyui: Any, browse: Any, tmp_path: Path
) -> None:
    graph = job("1, 2") | {
        "w": node(
            "BatchSDXL_SaveImageBatch", images=["g", 0], rows=["g", 1], filename_prefix="after/x"
        )
    }
    ids = {name: str(number) for number, name in enumerate(graph, 1)}
    for one in graph.values():
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                one["inputs"][name] = [ids[value[0]], value[1]]
    file = tmp_path / "graph.json"
    file.write_text(json.dumps({ids[name]: one for name, one in graph.items()}), "utf-8")
    seen = browse("seed_list.mjs", comfyui.url, str(file))

    fixed = {"seeds": "1, 2", "batch": 0, "control_after_generate": "fixed"}
    assert seen["new"] == seen["old"] == fixed
    assert seen["incremented"]["batch"] == 3
    files = sorted((comfyui.base / "output" / "after").glob("*.png"))
    names = [path.name.partition("_seed")[2] for path in files]
    assert names[:6] == [f"{seed}.png" for seed in range(1, 7)]
    drawn = seen["kept"]["seeds"].split(", ")
    assert names[6:] == [f"{seed}.png" for seed in drawn]
    assert not seen["errors"]
