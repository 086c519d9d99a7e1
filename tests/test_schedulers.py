"""Every scheduler on offer is diffusers' own, and keeps the promise."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from batch_sdxl.core import GeneratedImage, ImageRequest, Model
from batch_sdxl.core.engine.schedulers import SAMPLERS, SPACINGS, start_scheduler
from batch_sdxl.core.errors import InvalidRequest
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

NAMES = [
    *SAMPLERS,
    *(f"{name}:{spacing}" for name, sampler in SAMPLERS.items() for spacing in sampler.spacings),
]
PROMPTS = ["a red circle", "two squares"]
SEEDS = [2**64 - 1, 5]
STEPS = 3


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


def reference_scheduler(name: str, base: Any) -> Any:
    """The scheduler as a person would make it with diffusers, for both images at once."""
    import diffusers

    sampler, _, spacing = name.partition(":")
    class_name, config, _ = SAMPLERS[sampler]
    extra = {"noise_sampler_seed": SEEDS} if sampler == "dpmpp_sde" else {}
    return getattr(diffusers, class_name).from_config(
        base.config, **config, **(SPACINGS[spacing] if spacing else {}), **extra
    )


#: Each sampler with the model's own spacing and one of ComfyUI's; the others take longer.
USUAL = {*SAMPLERS, *(f"{name}:{sampler.spacings[-1]}" for name, sampler in SAMPLERS.items())}
EACH = [pytest.param(n, marks=[] if n in USUAL else [pytest.mark.slow]) for n in NAMES]


@pytest.mark.parametrize("name", EACH)
def test_parity_with_diffusers(
    name: str, components: dict[str, Any], render: Render, rounding: float
) -> None:
    from diffusers import StableDiffusionXLPipeline

    scheduler = reference_scheduler(name, components["scheduler"])
    pipeline = StableDiffusionXLPipeline(**components | {"scheduler": scheduler})
    for image, expected in zip(render(requests(name)), pipeline_images(pipeline), strict=True):
        assert image.decoded.isfinite().all()
        assert (image.decoded - expected).abs().max() < rounding


@pytest.mark.parametrize("name", SAMPLERS)
def test_image_to_image_parity(
    name: str, components: dict[str, Any], render: Render, rounding: float
) -> None:
    from diffusers import StableDiffusionXLImg2ImgPipeline

    source = Image.effect_noise((64, 64), 60).convert("RGB")
    scheduler = reference_scheduler(name, components["scheduler"])
    pipeline = StableDiffusionXLImg2ImgPipeline(**components | {"scheduler": scheduler})
    expected = pipeline_images(pipeline, image=[source] * 2, strength=0.8)
    images = render(requests(name, image=source, strength=0.8))
    for image, reference in zip(images, expected, strict=True):
        assert (image.decoded - reference).abs().max() < rounding


def _is_of(name: str, sampler: str) -> bool:
    return name.partition(":")[0] == sampler


@pytest.mark.parametrize("names", [USUAL, pytest.param(NAMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_alone_as_in_company(sampler: str, names: Collection[str], render: Render) -> None:
    """With each spacing, next to the other ones and to an image of another kind and length."""
    company = [requests(name)[0] for name in NAMES if name in names and _is_of(name, sampler)]
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
        scheduler, timesteps = start_scheduler(name, tiny.scheduler_config, steps, seed=1)
        latents = torch.ones(1, 4, 8, 8)
        for timestep in timesteps:
            scaled = scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(0.1 * scaled, timestep, latents, return_dict=False)[0]
        assert latents.isfinite().all()


def test_too_many_steps_for_a_sampler_are_an_error(tiny: Model) -> None:
    with pytest.raises(InvalidRequest, match="steps that lcm can take"):
        start_scheduler("lcm", tiny.scheduler_config, 60, seed=1)


@pytest.mark.parametrize("name", ["nope", "euler:nope", "ddim:karras", "lcm:beta", "", ":karras"])
def test_what_does_not_combine_is_refused_with_a_list(name: str) -> None:
    with pytest.raises(InvalidRequest, match="Choose one of"):
        ImageRequest(prompt="x", seed=1, scheduler=name)
