"""A graph of ComfyUI's own loaders in a running server: checkpoint, LoRAs, patches, ours behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import numpy as np
import pytest
import torch
from batch_sdxl.headless.cli.main import main
from batch_sdxl.tests.comfyui.conftest import ComfyUI, importable
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent

#: A pack by which Load Checkpoint gives the built-in model, whatever the file; its embeddings are
#: not as wide as Prompts to Conditioning expects them of SDXL.
PACK = f"""
import sys
sys.path.insert(0, {json.dumps(str(HERE))})
import nodes
from demo_parts import DemoParts


def load(self, ckpt_name):
    for name, module in list(sys.modules.items()):
        if name.endswith("nodes.prompts_to_conditioning"):
            module._check = lambda embedding, more: None
    return DemoParts().run(ckpt_name)


nodes.CheckpointLoaderSimple.load_checkpoint = load
NODE_CLASS_MAPPINGS = {{}}
"""
EXAMPLE = Path(batch_sdxl.__file__).parent / "example_workflows" / "model_from_comfyui.json"
CHECKPOINT = "sd_xl_base_1.0.safetensors"
LORAS = ("my_style.safetensors", "my_subject.safetensors")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "packs" / "demo").mkdir(parents=True)
    path = f"import sys\nsys.path.insert(0, {json.dumps(importable(folder))})\n"
    (folder / "packs" / "demo" / "__init__.py").write_text(path + PACK)
    paths = folder / "paths.yaml"
    paths.write_text(f"demo:\n  custom_nodes: {json.dumps(str(folder / 'packs'))}\n")
    models = folder / "base" / "models"
    for kind in ("checkpoints", "loras"):
        (models / kind).mkdir(parents=True)
    (models / "checkpoints" / CHECKPOINT).touch()
    draw = torch.Generator().manual_seed(0)
    for name in LORAS:
        parts = {"lora_up.weight": (96, 4), "lora_down.weight": (4, 96)}
        tensors = {
            f"lora_unet_middle_block_1_transformer_blocks_0_attn1_to_v.{part}": torch.randn(
                shape, generator=draw
            )
            for part, shape in parts.items()
        }
        save_file(tensors, models / "loras" / name)
    server = ComfyUI(folder / "base", "--extra-model-paths-config", str(paths))
    yield server
    server.stop()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def graph(seeds: str = "1..3", **changes: Any) -> dict[str, Any]:
    def lora(name: str, before: str) -> dict[str, Any]:
        wires = {"model": [before, 0], "clip": [before, 1]}
        return node("LoraLoader", lora_name=name, strength_model=0.7, strength_clip=0.7, **wires)

    made = {
        "load": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "one": lora(LORAS[0], "load"),
        "two": lora(LORAS[1], "one"),
        "free": node("FreeU_V2", model=["two", 0], b1=1.3, b2=1.4, s1=0.9, s2=0.2),
        "own": node(
            "BatchSDXL_ModelFromComfyUI", model=["free", 0], clip=["two", 1], vae=["load", 2]
        ),
        "prompt": node("PrimitiveStringMultiline", value="a (red:1.2) circle"),
        "seeds": node("BatchSDXL_SeedList", seeds=seeds),
        "make": node(
            "BatchSDXL_BatchGenerate",
            model=["own", 0],
            prompts=["prompt", 0],  # a STRING
            seeds=["seeds", 2],  # a list of INT
            width=64,
            height=64,
            steps=2,
            cfg=5.0,
            sampler_name="euler",
            scheduler="normal",
            strength=0.5,
            combine="zip",
        ),
        "save": node(
            "BatchSDXL_SaveImageBatch",
            images=["make", 0],
            rows=["make", 1],
            filename_prefix="own",
        ),
    }
    made["make"]["inputs"].update(changes)
    return made


def test_files_say_where_the_model_came_from(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = server.run(graph())
    assert entry["status"]["status_str"] == "success", entry["status"]
    files = server.files(entry)
    assert len(files) == 3
    with Image.open(files[0]) as image:
        record = json.loads(image.info["batch_sdxl"])
    assert record["request"]["prompt"] == "a (red:1.2) circle"
    assert record["model"]["name"] == CHECKPOINT
    assert record["model"]["through"] == "ComfyUI"
    assert "unpromised" not in record["model"]
    assert "comfyui" in record["numerics"]
    assert main(["verify", *map(str, files)]) == 2
    told = capsys.readouterr().out
    assert told.count("not checked  ") == 3
    assert f"{CHECKPOINT}, run through ComfyUI: not checked here" in told
    # Alone, and not from the store: seed 2 once more, of which nothing else is the same.
    again = server.files(server.run(graph(seeds="2", unrounded=True)))
    assert np.array_equal(np.asarray(Image.open(files[1])), np.asarray(Image.open(again[0])))


def as_api(server: Any, ui: dict[str, Any]) -> dict[str, Any]:
    """What the editor would send of a graph that it saved: widgets are stored by their place."""
    links = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    reroutes = {
        str(own["id"]): links[own["inputs"][0]["link"]]
        for own in ui["nodes"]
        if own["type"] == "Reroute"
    }

    def source(link: int) -> list[Any]:
        found = links[link]
        while found[0] in reroutes:
            found = reroutes[found[0]]
        return found

    made = {}
    for own in ui["nodes"]:
        if own["type"] in ("MarkdownNote", "Reroute"):
            continue
        declared = server.get(f"/object_info/{own['type']}")[own["type"]]["input"]
        inputs: dict[str, Any] = {}
        values = iter(own.get("widgets_values") or ())
        for name, (kind, *options) in (
            item for part in ("required", "optional") for item in declared.get(part, {}).items()
        ):
            given = options[0] if options else {}
            is_widget = isinstance(kind, list) or kind in (
                *("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"),
            )
            if is_widget and not given.get("forceInput"):
                # Widgets that are younger than the file are at their defaults.
                default = given.get("default", kind[0] if isinstance(kind, list) else None)
                inputs[name] = next(values, default)
                if given.get("control_after_generate"):
                    next(values)
        inputs |= {i["name"]: source(i["link"]) for i in own["inputs"] if i.get("link")}
        made[str(own["id"])] = node(own["type"], **inputs)
    return made


def test_the_example_runs(server: Any) -> None:
    prompt = as_api(server, json.loads(EXAMPLE.read_text("utf-8")))
    by_kind = {
        own["class_type"].removeprefix("BatchSDXL_"): own["inputs"] for own in prompt.values()
    }
    by_kind["BatchGenerate"].update(width=64, height=64, steps=2)
    by_kind["BasicScheduler"].update(steps=2)
    by_kind["PromptsToConditioning"].update(width=96, height=96)
    by_kind["SeedList"].update(seeds="4, 5, 6")
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "success", entry["status"]
    names = [file.name for file in server.files(entry) if file.parent.name == "output"]
    chosen = [name for name in names if name.startswith("chosen")]
    larger = [name for name in names if name.startswith("larger")]
    # Of product, the second and the fifth.
    assert [name.partition("_seed")[2] for name in chosen] == ["5.png", "5.png"]
    assert [name.partition("_seed")[2] for name in larger] == ["5.png", "5.png"]


def test_no_step_to_run_is_told_before_anything_runs(server: Any) -> None:
    chained = graph()
    again = json.loads(json.dumps(chained["make"]))
    again["inputs"].update(images=["make", 0], steps=4, strength=0.2)
    chained["again"] = again
    chained["save"]["inputs"].update(images=["again", 0], rows=["again", 1])
    status, answer = server.post("/prompt", {"prompt": chained})
    assert status == 400
    assert "steps * strength of 1 or more" in json.dumps(answer)


def test_apply_lora_names_the_node_that_fits(server: Any) -> None:
    wrong = graph()
    wrong["lora"] = node(
        "BatchSDXL_ApplyLora",
        model=["own", 0],
        lora_name=LORAS[0],
        strength_model=1.0,
        strength_clip=1.0,
    )
    wrong["make"]["inputs"]["model"] = ["lora", 0]
    status = server.run(wrong)["status"]
    (told,) = [said for kind, said in status["messages"] if kind == "execution_error"]
    assert "Put ComfyUI's own Load LoRA in front of that" in told["exception_message"]


def pixels(server: Any, entry: dict[str, Any], prefix: str) -> list[Any]:
    """Of the files that a run has saved under a prefix, in order, as whole numbers."""
    assert entry["status"]["status_str"] == "success", entry["status"]
    files = [file for file in server.files(entry) if file.name.startswith(prefix)]
    return [np.asarray(Image.open(file)).astype(int) for file in files]


@pytest.mark.parametrize("ours", [False, True])
def test_latents_go_on_into_comfyuis_own_nodes(server: Any, ours: bool) -> None:
    """VAE Decode makes the same picture of them, be the model ComfyUI's or of Load SDXL."""
    prompt = graph()
    if ours:
        prompt["demo"] = node("BatchSDXL_LoadSDXL", model_name="demo", dtype="fp32")
        prompt["make"]["inputs"]["model"] = ["demo", 0]
    prompt["decode"] = node("VAEDecode", samples=["make", 2], vae=["load", 2])
    prompt["image"] = node("SaveImage", images=["make", 0], filename_prefix="image")
    prompt["latent"] = node("SaveImage", images=["decode", 0], filename_prefix="latent")
    for on_error in ("stop", "skip"):  # another one, so that it runs again: out of the store
        prompt["make"]["inputs"]["on_error"] = on_error
        entry = server.run(prompt)
        made, decoded = (pixels(server, entry, name) for name in ("image", "latent"))
        assert len(made) == len(decoded) == 3
        for one, other in zip(made, decoded, strict=True):
            assert one.std() > 10
            assert np.abs(one - other).max() <= 1


def stock_sampler(latent: list[Any], **inputs: Any) -> dict[str, Any]:
    given = {"seed": 5, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal"}
    texts = {"positive": ["text", 0], "negative": ["text", 0]}
    return node("KSampler", model=["load", 0], latent_image=latent, **given | texts | inputs)


def test_latents_of_comfyuis_own_nodes_are_a_start(server: Any) -> None:
    """KSampler -> Batch Generate -> KSampler, each of which leaves most of what it was given."""
    prompt = graph(latents=["first", 0], steps=4, strength=0.25, width=0, height=0)
    prompt["text"] = node("CLIPTextEncode", clip=["load", 1], text="a red circle")
    prompt["empty"] = node("EmptyLatentImage", width=64, height=64, batch_size=3)
    prompt["first"] = stock_sampler(["empty", 0], denoise=1.0)
    prompt["last"] = stock_sampler(["make", 2], denoise=0.25)
    for name in ("first", "last"):
        prompt[f"decode {name}"] = node("VAEDecode", samples=[name, 0], vae=["load", 2])
        prompt[f"save {name}"] = node(
            "SaveImage", images=[f"decode {name}", 0], filename_prefix=name
        )
    entry = server.run(prompt)
    first, own, last = (pixels(server, entry, name) for name in ("first", "own", "last"))
    assert len(first) == len(own) == len(last) == 3
    for before, after in ((first, own), (own, last)):
        for place, image in enumerate(after):
            near, far = (np.abs(image - before[n]).mean() for n in (place, place - 1))
            assert near < far / 2
    file = next(file for file in server.files(entry) if file.name.startswith("own"))
    with Image.open(file) as image:
        record = json.loads(image.info["batch_sdxl"])
    assert record["request"]["latents"]["name"] == "latents 1"


def test_an_empty_latent_is_the_size_alone(server: Any) -> None:
    prompt = graph(latents=["empty", 0], width=0, height=0, strength=0.01)
    prompt["empty"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
    empty = pixels(server, server.run(prompt), "own")
    assert np.array_equal(empty, pixels(server, server.run(graph()), "own"))


def test_a_mask_of_noise_is_refused_by_name(server: Any) -> None:
    prompt = graph(latents=["masked", 0], width=0, height=0)
    prompt["empty"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
    prompt["mask"] = node("SolidMask", value=1.0, width=64, height=64)
    prompt["masked"] = node("SetLatentNoiseMask", samples=["empty", 0], mask=["mask", 0])
    status = server.run(prompt)["status"]
    (told,) = [said for kind, said in status["messages"] if kind == "execution_error"]
    assert "latents without a noise_mask" in told["exception_message"]
    both = graph(latents=["empty", 0], images=["made", 0])
    both["empty"] = prompt["empty"]
    both["made"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    status, answer = server.post("/prompt", {"prompt": both})
    assert status == 400
    assert "images or latents to start from" in json.dumps(answer)


def test_ksampler_makes_an_image_of_each_prompt_with_the_latent_from_here(server: Any) -> None:
    prompt = {
        "load": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "list": node("BatchSDXL_PromptList", text="a red circle\na star\nblue", negative_prompt=""),
        "text": node(
            "BatchSDXL_PromptsToConditioning",
            clip=["load", 1],
            prompts=["list", 0],
            width=64,
            height=64,
        ),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=3),
    }
    for name, latent in {"own": ["text", 5], "empty": ["empty", 0]}.items():
        texts = {"positive": ["text", 0], "negative": ["text", 1]}
        prompt[f"sample {name}"] = stock_sampler(latent, denoise=1.0, **texts)
        prompt[f"decode {name}"] = node("VAEDecode", samples=[f"sample {name}", 0], vae=["load", 2])
        prompt[f"save {name}"] = node(
            "SaveImage", images=[f"decode {name}", 0], filename_prefix=name
        )
    entry = server.run(prompt)
    own, expected = (pixels(server, entry, name) for name in ("own", "empty"))
    assert len(own) == 3
    assert np.array_equal(own, expected)
