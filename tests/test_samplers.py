"""Samplers mean what they mean in diffusers, with a spacing what they mean in ComfyUI."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import GeneratedImage, ImageRequest, Model
from batch_sdxl.core.engine.samplers.choice import count_calls, start_course
from batch_sdxl.core.engine.samplers.levels import Levels
from batch_sdxl.core.engine.samplers.spacings import SPACINGS
from batch_sdxl.core.engine.samplers.table import SAMPLERS
from batch_sdxl.core.errors import InvalidRequest
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

#: What diffusers calls those that we do not leave to it; all others have their class in the table.
OURS = {
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpm_2": "KDPM2DiscreteScheduler",
}
IN_DIFFUSERS = [name for name, sampler in SAMPLERS.items() if name in OURS or sampler.scheduler]
STOCHASTIC = [
    *("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "ddpm", "lcm"),
    *("dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "er_sde"),
]
PAIRS = [f"{name}:{spacing}" for name in SAMPLERS for spacing in SPACINGS]
#: Each sampler alone and with one spacing; the others take longer.
USUAL = [*SAMPLERS, *(f"{name}:karras" for name in SAMPLERS)]
EACH = [
    *USUAL,
    *(pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS if pair not in USUAL),
]
PROMPTS = ["a red circle", "two squares"]
SEEDS = [2**64 - 1, 5]
STEPS = 3
SDXL = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}


def requests(name: str, **changes: Any) -> list[ImageRequest]:
    return [
        ImageRequest(
            **{"prompt": prompt, "seed": seed, "scheduler": name, "num_inference_steps": STEPS}
            | changes
        )
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]


def pipeline_images(pipeline: Any, **arguments: Any) -> list[torch.Tensor]:
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        prompt=PROMPTS,
        negative_prompt=[""] * 2,
        num_inference_steps=STEPS,
        guidance_scale=7.0,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        output_type="pt",
        **arguments,
    ).images
    return [image.permute(1, 2, 0) for image in images]


def reference_scheduler(name: str, config: Mapping[str, Any], **extra: Any) -> Any:
    """The scheduler as a person would make it with diffusers."""
    import diffusers

    class_name, own = SAMPLERS[name].scheduler or (OURS[name], {})
    return getattr(diffusers, class_name).from_config(config, **own, **extra)


def for_both(name: str) -> dict[str, Any]:
    return {"noise_sampler_seed": SEEDS} if name == "dpmpp_sde" else {}


@pytest.mark.parametrize("name", IN_DIFFUSERS)
def test_parity_with_diffusers(
    name: str, components: dict[str, Any], render: Render, rounding: float
) -> None:
    from diffusers import StableDiffusionXLPipeline

    scheduler = reference_scheduler(name, components["scheduler"].config, **for_both(name))
    pipeline = StableDiffusionXLPipeline(**components | {"scheduler": scheduler})
    for image, expected in zip(render(requests(name)), pipeline_images(pipeline), strict=True):
        assert image.decoded.isfinite().all()
        assert (image.decoded - expected).abs().max() < rounding


@pytest.mark.parametrize("name", IN_DIFFUSERS)
def test_image_to_image_parity(
    name: str, components: dict[str, Any], render: Render, rounding: float
) -> None:
    from diffusers import StableDiffusionXLImg2ImgPipeline

    source = Image.effect_noise((64, 64), 60).convert("RGB")
    scheduler = reference_scheduler(name, components["scheduler"].config, **for_both(name))
    pipeline = StableDiffusionXLImg2ImgPipeline(**components | {"scheduler": scheduler})
    expected = pipeline_images(pipeline, image=[source] * 2, strength=0.8)
    images = render(requests(name, image=source, strength=0.8))
    for image, reference in zip(images, expected, strict=True):
        assert (image.decoded - reference).abs().max() < rounding


def unet(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Something that depends on all it is given, and is not linear."""
    return (sample + float(timestep) / 1000).sin()


def start(name: str, steps: int, config: Mapping[str, Any] = SDXL, **changes: Any) -> Any:
    arguments = {
        "seed": 7,
        "generator": torch.Generator().manual_seed(7),
        "shape": (1, 4, 8, 8),
        "strength": None,
    }
    return start_course(name, config, steps, **(arguments | changes))


def run(course: Any, noise: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
    course.start(noise, image)
    while not course.is_done:
        course.advance(unet(course.model_input(), course.timestep))
    latents: torch.Tensor = course.latents
    return latents


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", OURS)
def test_ours_are_diffusers_own_for_models_of_all_kinds(
    name: str, spacing: str, prediction_type: str
) -> None:
    config = SDXL | {"timestep_spacing": spacing, "prediction_type": prediction_type}
    for steps in (1, 2, 7, 25):
        scheduler = reference_scheduler(name, config)
        scheduler.set_timesteps(steps)
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        latents = noise * scheduler.init_noise_sigma
        drawing = {"generator": torch.Generator().manual_seed(7)} if "ancestral" in name else {}
        for timestep in scheduler.timesteps:
            sample = scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(unet(sample, timestep), timestep, latents, **drawing)[0]
        own = run(start(name, steps, config), noise)
        torch.testing.assert_close(own, latents, rtol=1e-3, atol=1e-3)


#: Measured in ComfyUI 0.28.0, for SDXL, of 8 steps.
COMFYUI = {
    "normal": "",
}


def is_of(name: str, sampler: str) -> bool:
    return name.partition(":")[0] == sampler


@pytest.mark.parametrize("names", [USUAL, pytest.param(PAIRS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_alone_as_in_company(sampler: str, names: Collection[str], render: Render) -> None:
    """With each spacing, next to the other ones and to an image of another kind and length."""
    company = [requests(name)[0] for name in names if is_of(name, sampler)]
    company.insert(1, ImageRequest(prompt="x", seed=1, num_inference_steps=7, guidance_scale=1.0))
    together = render(company)
    for request, image in zip(company, together, strict=True):
        (alone,) = render([request])
        assert torch.equal(alone.decoded, image.decoded), request.scheduler


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_seed_is_another_image(name: str, render: Render) -> None:
    one, other = render(
        [ImageRequest(prompt="x", seed=s, scheduler=name, num_inference_steps=2) for s in (1, 2)]
    )
    assert not torch.equal(one.decoded, other.decoded)


@pytest.mark.parametrize("name", EACH)
def test_few_steps_stay_finite(name: str, tiny: Model) -> None:
    for steps in (1, 2, 3):
        course = start(name, steps, tiny.scheduler_config)
        assert run(course, torch.ones(1, 4, 8, 8)).isfinite().all()


def test_too_many_steps_for_a_sampler_are_an_error() -> None:
    with pytest.raises(InvalidRequest, match="steps that lcm can take"):
        count_calls("lcm", SDXL, 60)
    with pytest.raises(InvalidRequest, match="simple has as many noise levels"):
        count_calls("euler:simple", SDXL, 1001)


@pytest.mark.parametrize("name", ["nope", "euler:nope", "euler:", "", ":karras"])
def test_an_unknown_name_is_refused_with_a_list(name: str) -> None:
    with pytest.raises(InvalidRequest, match="Choose one of"):
        ImageRequest(prompt="x", seed=1, scheduler=name)
