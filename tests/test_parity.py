"""The engine's images are those of diffusers' own pipelines, to float rounding."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

PROMPTS = ["a red circle", "two green squares on blue", ""]
NEGATIVES = ["blurry", "", "dim"]
SEEDS = [3, 0, 2**53 + 1]


def run(pipeline: Any, **arguments: Any) -> list[torch.Tensor]:
    """The pipeline's images as (H, W, 3), unrounded, of a list of prompts and of generators."""
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        prompt=PROMPTS,
        negative_prompt=NEGATIVES,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        output_type="pt",
        **arguments,
    ).images
    return [image.permute(1, 2, 0) for image in images]


def test_text_to_image(components: dict[str, Any], render: Render, rounding: float) -> None:
    from diffusers import StableDiffusionXLPipeline

    expected = run(
        StableDiffusionXLPipeline(**components),
        num_inference_steps=8,
        guidance_scale=5.0,
        height=64,
        width=80,
    )
    requests = [
        ImageRequest(
            prompt=prompt,
            negative_prompt=negative,
            empty_negative="empty",
            seed=seed,
            num_inference_steps=8,
            guidance_scale=5.0,
            height=64,
            width=80,
        )
        for prompt, negative, seed in zip(PROMPTS, NEGATIVES, SEEDS, strict=True)
    ]
    for image, reference in zip(render(requests), expected, strict=True):
        assert reference.std() > 0.1
        assert (image.decoded - reference).abs().max() < rounding


@pytest.mark.parametrize("zeros", [True, False])
def test_without_a_negative_prompt(
    components: dict[str, Any], tiny: Model, zeros: bool, rounding: float
) -> None:
    """As in diffusers' guide, which gives none: the model says what stands for it."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(**components, force_zeros_for_empty_prompt=zeros)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=PROMPTS,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        num_inference_steps=4,
        output_type="pt",
        guidance_scale=5.0,
    ).images
    model = replace(tiny, zeros_for_empty_prompt=zeros)
    requests = [
        ImageRequest(prompt=prompt, seed=seed, num_inference_steps=4, guidance_scale=5.0)
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]
    for image in Engine(model).generate(requests):
        reference = expected[image.index].permute(1, 2, 0)
        assert (image.decoded - reference).abs().max() < rounding
        assert image.request.empty_negative == ("zeros" if zeros else "empty")


def test_layers_skipped_for_the_prompt_alone(
    components: dict[str, Any], render: Render, rounding: float
) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(**components)
    expected = run(pipeline, num_inference_steps=4, guidance_scale=5.0, clip_skip=1)
    ours = {
        negative_skip: [
            ImageRequest(
                prompt=prompt,
                negative_prompt=negative,
                empty_negative="empty",
                clip_skip=1,
                negative_clip_skip=negative_skip,
                seed=seed,
                num_inference_steps=4,
                guidance_scale=5.0,
            )
            for prompt, negative, seed in zip(PROMPTS, NEGATIVES, SEEDS, strict=True)
        ]
        for negative_skip in (0, None)
    }
    for image, other, reference in zip(render(ours[0]), render(ours[None]), expected, strict=True):
        assert (image.decoded - reference).abs().max() < rounding
        assert (other.decoded - reference).abs().max() > rounding


def test_without_guidance(components: dict[str, Any], render: Render, rounding: float) -> None:
    from diffusers import StableDiffusionXLPipeline

    expected = run(
        StableDiffusionXLPipeline(**components), num_inference_steps=4, guidance_scale=1.0
    )
    requests = [
        ImageRequest(prompt=prompt, seed=seed, num_inference_steps=4, guidance_scale=1.0)
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]
    for image, reference in zip(render(requests), expected, strict=True):
        assert (image.decoded - reference).abs().max() < rounding


@pytest.mark.parametrize("strength", [0.5, 0.33, 1.0])
def test_image_to_image(
    components: dict[str, Any], render: Render, strength: float, rounding: float
) -> None:
    """As in diffusers' guide to batch inference: guidance_scale=8.0, strength=0.5."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    sources = [Image.effect_noise((64, 64), 20 + 40 * n).convert("RGB") for n in range(3)]
    expected = run(
        StableDiffusionXLImg2ImgPipeline(**components),
        image=sources,
        num_inference_steps=10,
        guidance_scale=8.0,
        strength=strength,
    )
    requests = [
        ImageRequest(
            prompt=prompt,
            negative_prompt=negative,
            empty_negative="empty",
            seed=seed,
            image=source,
            num_inference_steps=10,
            guidance_scale=8.0,
            strength=strength,
        )
        for prompt, negative, seed, source in zip(PROMPTS, NEGATIVES, SEEDS, sources, strict=True)
    ]
    for image, reference in zip(render(requests), expected, strict=True):
        assert reference.std() > 0.1
        assert (image.decoded - reference).abs().max() < rounding
