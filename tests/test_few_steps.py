"""Models of few steps: the example of each kind does what its makers' own settings do."""

import json
import shutil
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model, load_model
from batch_sdxl.core.errors import UnsupportedModel
from batch_sdxl.core.samplers.choice import start_course
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed

EXAMPLES = Path(batch_sdxl.__file__).parent / "example_workflows"

#: Example -> the scheduler of diffusers that the makers name, and the numbers of steps they give.
MAKERS: dict[str, tuple[str, dict[str, Any], range | tuple[int, ...]]] = {
    "sdxl_turbo": (
        "EulerAncestralDiscreteScheduler",
        {"timestep_spacing": "trailing"},
        range(1, 5),
    ),
    "sdxl_lightning": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, (2, 4, 8)),
    "lcm_lora": ("LCMScheduler", {}, range(2, 9)),
    "hyper_sd": (
        "DDIMScheduler",
        # The last two as SDXL's own scheduler_config.json has them.
        {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": False},
        (2, 4, 8),
    ),
}


def settings(example: str) -> dict[str, Any]:
    """Of its Batch Generate, in our words."""
    graph = workflow.read(EXAMPLES / f"{example}.json", installed())
    (node,) = [n for n in graph.nodes.values() if n.class_type == "BatchSDXL_BatchGenerate"]
    return {
        "num_inference_steps": node.inputs["steps"],
        "guidance_scale": node.inputs["cfg"],
        "scheduler": f"{node.inputs['sampler_name']}:{node.inputs['scheduler']}",
    }


def makers_scheduler(components: dict[str, Any], example: str) -> Any:
    import diffusers

    name, config, _ = MAKERS[example]
    return getattr(diffusers, name).from_config(components["scheduler"].config, **config)


def reference(components: dict[str, Any], example: str, **arguments: Any) -> torch.Tensor:
    """The image of diffusers' own pipeline with the makers' scheduler."""
    import diffusers

    scheduler = makers_scheduler(components, example)
    pipeline = diffusers.StableDiffusionXLPipeline(**components | {"scheduler": scheduler})
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    images = pipeline("a red circle", generator=generator, output_type="pt", **arguments).images
    image: torch.Tensor = images[0].permute(1, 2, 0)
    return image


@pytest.mark.parametrize("example", MAKERS)
def test_the_examples_take_the_makers_steps(
    example: str, components: dict[str, Any], tiny: Model
) -> None:
    own = settings(example)
    assert own["num_inference_steps"] in MAKERS[example][2]
    assert not ImageRequest(prompt="x", seed=7, **own).is_guided
    steps, shape = own["num_inference_steps"], (1, 4, 8, 8)
    course = start_course(
        own["scheduler"],
        tiny.scheduler_config,
        steps,
        seed=7,
        generator=torch.Generator(),
        shape=shape,
        strength=None,
    )
    course.start(torch.zeros(shape), None)
    scheduler = makers_scheduler(components, example)
    scheduler.set_timesteps(steps)
    # LCM has steps of 20 to choose from; ComfyUI's words know none of that.
    apart = 20 if example == "lcm_lora" else 1
    for timestep in scheduler.timesteps:
        assert abs(course.timestep - timestep) <= apart
        course.advance(torch.zeros(shape))
    assert course.is_done


#: Those that draw no noise on the way, where ComfyUI's is not diffusers'.
@pytest.mark.parametrize("example", ["sdxl_lightning", "hyper_sd"])
def test_images_are_near_those_of_the_makers_settings(
    example: str, components: dict[str, Any], tiny: Model
) -> None:
    own = settings(example)
    request = ImageRequest(prompt="a red circle", seed=7, **own)
    (image,) = Engine(tiny).generate([request])
    expected = reference(
        components, example, num_inference_steps=own["num_inference_steps"], guidance_scale=0.0
    )
    assert expected.std() > 0.01
    # Half a timestep, and 0.2 % of the first noise.
    assert (image.decoded - expected).abs().max() < 0.01


def test_parity_of_lcm_with_guidance(
    components: dict[str, Any], tiny: Model, rounding: float
) -> None:
    own: dict[str, Any] = {"scheduler": "lcm", "num_inference_steps": 4, "guidance_scale": 1.5}
    request = ImageRequest(prompt="a red circle", negative_prompt="dim", seed=7, **own)
    (image,) = Engine(tiny).generate([request])
    expected = reference(
        components, "lcm_lora", num_inference_steps=4, guidance_scale=1.5, negative_prompt="dim"
    )
    assert (image.decoded - expected).abs().max() < rounding


@pytest.mark.parametrize("example", MAKERS)
def test_an_image_takes_one_row(example: str, tiny: Model) -> None:
    own = settings(example)
    requests = [ImageRequest(prompt="x", seed=seed, **own) for seed in range(4)]
    engine = Engine(tiny, geometry=Geometry(4))
    list(engine.generate(requests))  # what calls of that shape are like on this machine is tried
    rows: list[int] = []
    hook = tiny.unet.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["sample"])), with_kwargs=True
    )
    try:
        list(engine.generate(requests))
    finally:
        hook.remove()
    assert rows == [4] * own["num_inference_steps"]


def test_a_unet_that_is_told_the_guidance_scale_is_refused(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "lcm")
    file = folder / "unet" / "config.json"
    config = json.loads(file.read_text("utf-8")) | {"time_cond_proj_dim": 256}
    file.write_text(json.dumps(config), "utf-8")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")  # never read
    with pytest.raises(UnsupportedModel, match=r"time_cond_proj_dim.*Apply LCM-LoRA"):
        load_model(folder, device="cpu")
