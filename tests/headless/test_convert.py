import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidWorkflow
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.graph.catalog import Catalog, installed
from batch_sdxl.headless.graph.check import check
from batch_sdxl.headless.graph.convert import Conversion, convert
from batch_sdxl.headless.graph.graph import Link, Node
from batch_sdxl.headless.graph.sigmas import planned_for, strength_for
from batch_sdxl.headless.graph.workflow import parse
from PIL import Image

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a photo whose sides are no multiples of 8."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (70, 50), "red").save(tmp_path / "photo.png")
    return tmp_path


@pytest.fixture(scope="module")
def pack() -> Catalog:
    return installed()


@pytest.fixture
def stock(api: Callable[..., Json]) -> Callable[..., Json]:
    """ComfyUI's default graph with some inputs changed, `node__input=value`, and nodes added."""

    def write(added: Json | None = None, **changes: Any) -> Json:
        content = api(
            **{
                "3": (
                    "KSampler",
                    {
                        "seed": 5,
                        "steps": 4,
                        "cfg": 6.0,
                        "sampler_name": "euler",
                        "scheduler": "karras",
                        "denoise": 1.0,
                        "model": ["4", 0],
                        "positive": ["6", 0],
                        "negative": ["7", 0],
                        "latent_image": ["5", 0],
                    },
                ),
                "4": ("CheckpointLoaderSimple", {"ckpt_name": "demo"}),
                "5": ("EmptyLatentImage", {"width": 64, "height": 48, "batch_size": 1}),
                "6": ("CLIPTextEncode", {"text": "a red circle", "clip": ["4", 1]}),
                "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["4", 1]}),
                "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
                "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "stock"}),
            },
            **(added or {}),
        )
        for name, value in changes.items():
            node_id, _, key = name.removeprefix("n").partition("__")
            content[node_id]["inputs"][key] = value
        return content

    return write


@pytest.fixture
def converted(pack: Catalog) -> Callable[[Json], Conversion]:
    def run(content: Json) -> Conversion:
        done = convert(parse(content, pack), pack)
        check(done.graph, pack)
        return done

    return run


def by_kind(done: Conversion) -> dict[str, Node]:
    return {n.class_type.removeprefix("BatchSDXL_"): n for n in done.graph.nodes.values()}


IMAGE = {
    "10": ("LoadImage", {"image": "photo.png"}),
    "11": ("VAEEncode", {"pixels": ["10", 0], "vae": ["4", 2]}),
}


def test_default_graph_becomes_ours(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    done = converted(stock())
    nodes = by_kind(done)
    assert set(nodes) == {"LoadSDXL", "PromptList", "SeedList", "BatchGenerate", "SaveImageBatch"}
    assert nodes["LoadSDXL"].inputs["model_name"] == "demo"
    assert nodes["PromptList"].inputs["text"] == "a red circle"
    assert nodes["PromptList"].inputs["negative_prompt"] == "blurry"
    assert nodes["SeedList"].inputs["seeds"] == "5"
    generate = nodes["BatchGenerate"].inputs
    told = {"steps": 4, "cfg": 6.0, "sampler_name": "euler", "scheduler": "karras"}
    assert told | {"width": 64, "height": 48} == {
        name: generate[name] for name in (*told, "width", "height")
    }
    assert nodes["SaveImageBatch"].inputs["filename_prefix"] == "stock"
    assert "Batch Generate" in done.changes[0]


def test_graph_of_our_nodes_stays_as_it_is(pack: Catalog) -> None:
    content = {"1": {"class_type": "BatchSDXL_SeedList", "inputs": {"seeds": "3"}}}
    graph = parse(content, pack)
    assert convert(graph, pack) == Conversion(graph)


def test_batch_has_one_seed_for_each_image(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    assert by_kind(converted(stock(n5__batch_size=3)))["SeedList"].inputs["seeds"] == "5..+3"
    with pytest.raises(InvalidWorkflow, match="a seed with room for 3 images"):
        converted(stock(n5__batch_size=3, n3__seed=2**64 - 2))


def test_loras_are_applied_where_their_nodes_lead(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    both = {"model": ["4", 0], "clip": ["4", 1], "lora_name": "a.safetensors"}
    content = stock(
        {
            "20": ("LoraLoader", {**both, "strength_model": 0.8, "strength_clip": 0.6}),
            "21": ("LoraLoaderModelOnly", {"model": ["20", 0], "lora_name": "b.safetensors"}),
        },
        n3__model=["21", 0],
        n6__clip=["20", 1],
        n7__clip=["20", 1],
    )
    loras = [n for n in converted(content).graph.nodes.values() if "Lora" in n.class_type]
    assert [
        tuple(n.inputs[name] for name in ("lora_name", "strength_model", "strength_clip"))
        for n in loras
    ] == [("a.safetensors", 0.8, 0.6), ("b.safetensors", 1.0, 0.0)]
    content["7"]["inputs"]["clip"] = ["4", 1]
    with pytest.raises(InvalidWorkflow, match=r"the CLIP of the other prompt.*\(node 7\)"):
        converted(content)


@pytest.mark.parametrize(
    "text",
    ["# not a comment", "--steps 3", "positive: x", "a,\nb", "---", " two  blanks ", "{a|b}"],
)
def test_any_text_stays_one_prompt(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion], pack: Catalog, text: str
) -> None:
    node = by_kind(converted(stock(n6__text=text)))["PromptList"]
    prompts, *_ = pack.classes[node.class_type]().run(**node.inputs)["result"]
    assert [prompt.prompt for prompt in prompts] == [text.strip().replace("\n", " ")]


def test_sdxl_encoder_brings_its_sizes(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    sizes = {"width": 512, "height": 256, "crop_w": 8, "target_width": 64, "target_height": 48}
    encode = {"clip": ["4", 1], "text_g": "a star", "text_l": "a star", **sizes}
    added = {"12": ("CLIPTextEncodeSDXL", encode), "13": ("CLIPTextEncodeSDXL", dict(encode))}
    content = stock(added, n3__positive=["12", 0], n3__negative=["13", 0])
    settings = by_kind(converted(content))["PromptSettings"].inputs
    assert settings["original_width"] == 512
    assert (settings["crop_left"], settings["crop_top"]) == (8, 0)
    content["13"]["inputs"]["width"] = 64
    with pytest.raises(InvalidWorkflow, match=r"sizes and layers of .*\(node 13\)"):
        converted(content)
    content["12"]["inputs"]["text_l"] = "another"
    with pytest.raises(InvalidWorkflow, match="one text for both text encoders"):
        converted(content)


@pytest.mark.parametrize("steps", [1, 4, 20, 33])
@pytest.mark.parametrize("denoise", [1.0, 0.95, 0.87, 0.6, 0.5, 0.35, 0.02])
def test_strength_runs_the_sigmas_of_denoise(steps: int, denoise: float) -> None:
    planned = planned_for(steps, denoise)
    strength = strength_for(planned, steps)
    assert planned == int(steps / denoise)
    assert int(planned * strength) == steps
    assert round(strength, 3) == strength


def test_denoise_without_such_a_strength_is_refused(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    for denoise in (0.0, 0.0001):
        with pytest.raises(InvalidWorkflow, match="steps to run, of 10,000 at most, not 4"):
            converted(stock(IMAGE, n3__latent_image=["11", 0], n3__denoise=denoise))
    with pytest.raises(InvalidWorkflow, match=r"an empty latent, not 4 steps at denoise 0\.5"):
        converted(stock(n3__denoise=0.5))


def test_image_to_image_cuts_to_what_the_vae_takes(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    done = converted(stock(IMAGE, n3__latent_image=["11", 0], n3__denoise=0.5))
    nodes = by_kind(done)
    load, generate = nodes["LoadImageBatch"].inputs, nodes["BatchGenerate"].inputs
    assert (load["folder"], load["width"], load["height"]) == ("photo.png", 64, 48)
    assert (generate["steps"], generate["strength"], generate["width"]) == (8, 0.5, 0)
    assert generate["names"] == Link(generate["images"].node_id, 2)
    assert any("cut to 64 x 48" in change for change in done.changes)


def test_second_sampler_starts_from_the_first_ones_images(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    content = stock(
        {
            "30": ("ImageScaleBy", {"image": ["8", 0], "upscale_method": "area", "scale_by": 2}),
            "31": ("VAEEncode", {"pixels": ["30", 0], "vae": ["4", 2]}),
            "33": ("VAEDecode", {"samples": ["32", 0], "vae": ["4", 2]}),
            "32": ("KSampler", {}),
        },
        n9__images=["33", 0],
        n5__batch_size=2,
    )
    second = {"latent_image": ["31", 0], "denoise": 0.5}
    content["32"]["inputs"] = content["3"]["inputs"] | second
    graph = converted(content).graph
    assert graph.nodes["32"].inputs["images"] == Link("30", 0)
    assert graph.nodes["30"].inputs["image"] == Link("3", 0)
    assert len([n for n in graph.nodes.values() if "PromptList" in n.class_type]) == 1
    assert [n.inputs["seeds"] for n in graph.nodes.values() if "SeedList" in n.class_type] == [
        "5..+2"
    ] * 2
    content["32"]["inputs"]["latent_image"] = ["3", 0]
    with pytest.raises(InvalidWorkflow, match=r"EmptyLatentImage or VAEEncode for .*\(node 3\)"):
        converted(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n3__sampler_name": "eulr"}, 'Did you mean "euler"'),
        ({"n3__sampler_name": "dpm_adaptive"}, "the name of a sampler"),
        ({"n3__scheduler": "flow_match"}, "the name of a scheduler"),
        ({"n3__cfg": 0.5}, "a cfg of 1 or more"),
        ({"n3__steps": "many"}, 'a whole number for input steps of "KSampler" .node 3.'),
        ({"n3__seed": -1}, "at least 0 for input seed"),
        ({"n3__positive": None}, "a link for input positive"),
        ({"n3__positive": ["99", 0]}, "node 99, which is not there"),
        ({"n8__vae": ["6", 0]}, "CheckpointLoaderSimple or VAELoader for input vae"),
        ({"n8__samples": ["5", 0]}, "KSampler or KSamplerAdvanced for input samples"),
        ({"n3__seed": ["5", 0]}, "a written value for input seed"),
        ({"n3__model": ["3", 0]}, "circle"),
    ],
)
def test_what_ours_cannot_do_is_refused_by_name(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion], changes: Json, said: str
) -> None:
    with pytest.raises(BatchSDXLError, match=said):
        converted(stock(**changes))


def advanced(stock: Callable[..., Json], **changes: Any) -> Json:
    """The default graph with the other sampler."""
    content = stock(IMAGE)
    own = content["3"]["inputs"]
    own["noise_seed"] = own.pop("seed")
    del own["denoise"]
    own |= {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10_000, **changes}
    return content | {"3": {"class_type": "KSamplerAdvanced", "inputs": own}}


def test_advanced_sampler_runs_all_steps_or_the_last_ones(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    nodes = by_kind(converted(advanced(stock)))
    made = nodes["BatchGenerate"].inputs
    assert (made["steps"], made["width"], nodes["SeedList"].inputs["seeds"]) == (4, 64, "5")
    made = by_kind(converted(advanced(stock, latent_image=["11", 0], start_at_step=1)))[
        "BatchGenerate"
    ].inputs
    assert (made["steps"], made["strength"]) == (4, 0.75)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"add_noise": "disable"}, "noise of its own"),
        ({"end_at_step": 3}, "an end_at_step of 4 or more, its last step"),
        ({"start_at_step": 1}, "all steps from an empty latent, not those from step 1 on"),
        ({"start_at_step": 4, "latent_image": ["11", 0]}, "steps to run, of 10,000 at most"),
    ],
)
def test_part_of_the_work_of_two_samplers_is_refused(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion], changes: Json, said: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=said):
        converted(advanced(stock, **changes))


def test_last_layer_of_clip_is_clip_skip(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    def skipping(layer: int) -> Json:
        added = {"20": ("CLIPSetLastLayer", {"clip": ["4", 1], "stop_at_clip_layer": layer})}
        return stock(added, n6__clip=["20", 0], n7__clip=["20", 0])

    assert by_kind(converted(skipping(-3)))["PromptSettings"].inputs["clip_skip"] == 1
    assert "PromptSettings" not in by_kind(converted(skipping(-2)))
    for layer in (-1, -13):
        with pytest.raises(InvalidWorkflow, match="a stop_at_clip_layer of -12 to -2, not"):
            converted(skipping(layer))
    content = skipping(-3)
    content["7"]["inputs"]["clip"] = ["4", 1]
    with pytest.raises(InvalidWorkflow, match="sizes and layers"):
        converted(content)


def test_zeros_stand_for_a_negative_prompt(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    zero = {"20": ("ConditioningZeroOut", {"conditioning": ["6", 0]})}
    nodes = by_kind(converted(stock(zero, n3__negative=["20", 0])))
    assert nodes["BatchGenerate"].inputs["empty_negative"] == "zeros"
    assert nodes["PromptList"].inputs["negative_prompt"] == ""
    with pytest.raises(InvalidWorkflow, match="a prompt to draw, not zeros"):
        converted(stock(zero, n3__positive=["20", 0]))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ConditioningCombine", "ConditioningCombine: an image has one prompt here"),
        ("ConditioningConcat", "with BREAK between them"),
        ("LatentUpscaleBy", "LatentUpscaleBy: latents are not scaled here"),
        ("ControlNetApply", "there is no ControlNet here"),
    ],
)
def test_what_means_something_else_is_refused_with_what_to_do(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion], kind: str, said: str
) -> None:
    content = stock({"20": (kind, {"conditioning_1": ["6", 0], "samples": ["5", 0]})})
    place = "latent_image" if kind.startswith("Latent") else "positive"
    content["3"]["inputs"][place] = ["20", 0]
    with pytest.raises(InvalidWorkflow, match=said):
        converted(content)


def test_foreign_node_is_named_or_left_out(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    added = {"40": ("FaceDetailer", {"image": ["8", 0]}), "41": ("FaceDetailer", {})}
    done = converted(stock(added))
    assert done.changes[-1].endswith('2 x "FaceDetailer" (nodes 40, 41)')
    with pytest.raises(InvalidWorkflow, match=r'got "FaceDetailer" \(node 40\)\.'):
        converted(stock(added, n9__images=["40", 0]))


def test_preview_is_saved_where_nothing_else_is(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    content = stock()
    content["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    done = converted(content)
    assert by_kind(done)["SaveImageBatch"].inputs["filename_prefix"] == "preview"
    assert "is saved, as nothing else is" in done.changes[0]


def test_primitives_are_written_out(
    stock: Callable[..., Json], converted: Callable[[Json], Conversion]
) -> None:
    added = {
        "50": ("PrimitiveInt", {"value": 77}),
        "51": ("PrimitiveString", {"value": ["52", 0]}),
        "52": ("PrimitiveStringMultiline", {"value": "a star"}),
    }
    nodes = by_kind(converted(stock(added, n3__seed=["50", 0], n6__text=["51", 0])))
    assert nodes["SeedList"].inputs["seeds"] == "77"
    assert nodes["PromptList"].inputs["text"] == "a star"
    added["52"] = ("PrimitiveString", {"value": ["51", 0]})  # a circle
    with pytest.raises(InvalidWorkflow):
        converted(stock(added, n6__text=["51", 0]))


def test_editors_drawing_is_converted_too(
    node: Any, drawing: Any, converted: Callable[[Json], Conversion]
) -> None:
    nodes = [
        node(1, "CheckpointLoaderSimple", ["demo"], outputs="MODEL CLIP VAE"),
        node(2, "CLIPTextEncode", ["a star"], "clip:CLIP", "CONDITIONING"),
        node(3, "CLIPTextEncode", [""], "clip:CLIP", "CONDITIONING"),
        node(4, "EmptyLatentImage", [64, 64, 1], outputs="LATENT"),
        node(
            5,
            "KSampler",
            [9, "randomize", 3, 7, "dpmpp_2m_sde_gpu", "karras", 1],
            "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
            "LATENT",
        ),
        node(6, "VAEDecode", [], "samples:LATENT vae:VAE", "IMAGE"),
        node(7, "SaveImage", ["x"], "images:IMAGE"),
    ]
    links = [
        (1, 1, 2, "clip"),
        (1, 1, 3, "clip"),
        (1, 0, 5, "model"),
        (2, 0, 5, "positive"),
        (3, 0, 5, "negative"),
        (4, 0, 5, "latent_image"),
        (5, 0, 6, "samples"),
        (1, 2, 6, "vae"),
        (6, 0, 7, "images"),
    ]
    done = converted(drawing(nodes, links))
    made = by_kind(done)["BatchGenerate"].inputs
    assert (made["steps"], made["cfg"], made["sampler_name"]) == (3, 7.0, "dpmpp_2m_sde")
    # A drawing of other nodes would say something else than what ran.
    assert done.graph.editor is None


def test_stock_workflow_runs_and_its_conversion_makes_the_same_images(
    stock: Callable[..., Json],
    save: Callable[[Any], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = save(stock(IMAGE, n3__latent_image=["11", 0], n3__denoise=0.5))
    command = ["run", str(file), "--set", "KSampler.steps=2", "--json"]
    assert main([*command, "--output", "a"]) == 0
    out, err = capsys.readouterr()
    (one,) = json.loads(out)["files"]
    assert 'Converted: "KSampler" (node 3) is Batch Generate' in err
    assert (one["row"]["request"]["seed"], one["row"]["request"]["num_inference_steps"]) == (5, 4)
    assert one["row"]["request"]["image"]["name"] == "photo.png"

    content = json.loads(file.read_text())
    content["3"]["inputs"]["steps"] = 2
    save(content)
    assert main(["convert", str(file)]) == 0
    *changes, written = capsys.readouterr().out.splitlines()
    assert len(changes) >= 3
    assert main(["convert", str(file)]) == 1  # the file is there
    assert main(["run", written, "--json", "--output", "b"]) == 0
    (other,) = json.loads(capsys.readouterr().out)["files"]
    assert other["row"]["identity"] == one["row"]["identity"]
    assert main(["convert", written]) == 0
    assert "Nothing to convert" in capsys.readouterr().out


def test_an_empty_latent_into_batch_generate_stays_as_it_is(
    api: Callable[..., Json], pack: Catalog, folder: Path
) -> None:
    content = api(
        load=("BatchSDXL_LoadSDXL", {"model_name": "demo"}),
        prompts=("BatchSDXL_PromptList", {"text": "a red circle"}),
        seeds=("BatchSDXL_SeedList", {"seeds": "1"}),
        empty=("EmptyLatentImage", {"width": 72, "height": 64, "batch_size": 1}),
        make=(
            "BatchSDXL_BatchGenerate",
            {
                "model": ["load", 0],
                "prompts": ["prompts", 0],
                "seeds": ["seeds", 0],
                "latents": ["empty", 0],
                "steps": 1,
            },
        ),
        save=("BatchSDXL_SaveImageBatch", {"images": ["make", 0], "rows": ["make", 1]}),
    )
    graph = parse(content, pack)
    done = convert(graph, pack)
    assert done.graph.nodes.keys() == graph.nodes.keys()
    assert done.changes == ()
    (folder / "graph.json").write_text(json.dumps(content))
    assert main(["run", "graph.json", "--output", "out"]) == 0
    (file,) = (folder / "out").glob("*.png")
    with Image.open(file) as image:
        assert image.size == (72, 64)
