"""Ways to make the images of some requests: ours, and those that diffusers' guides show."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from batch_sdxl.core import Engine, ImageRequest, Model

#: Makes all images; what it returns is not looked at.
Make = Callable[[Sequence[ImageRequest]], Any]

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "black", "white")
SHAPES = ("circle", "square", "star", "heart", "triangle")


def prompt(number: int) -> str:
    """A short prompt, of which the first forty are distinct."""
    return f"a {COLOURS[number % len(COLOURS)]} {SHAPES[number % len(SHAPES)]} on a grey ground"


def uniform(images: int, steps: int, pixels: int) -> list[ImageRequest]:
    """Distinct guided images of one size and one number of steps, by Euler's method."""
    return [
        ImageRequest(
            prompt=prompt(n), seed=n, num_inference_steps=steps, width=pixels, height=pixels
        )
        for n in range(images)
    ]


def ours(engine: Engine) -> Make:
    """All in one run of the engine."""
    return lambda requests: [image.pixels for image in engine.generate(requests)]


def pipeline(model: Model) -> Any:
    """Diffusers' pipeline as its guides make it, of the parts of a model.

    In fp16 its VAE is stored in fp16 and taken to fp32 for each call, as it does by itself.
    """
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()  # of prompts that it cuts off
    vae = model.vae
    if model.dtype == torch.float16:
        vae = copy.deepcopy(vae).to(torch.float16)
    made: Any = StableDiffusionXLPipeline(
        unet=model.unet,
        vae=vae,
        tokenizer=model.tokenizers[0],
        tokenizer_2=model.tokenizers[1],
        text_encoder=model.text_encoders[0],
        text_encoder_2=model.text_encoders[1],
        scheduler=EulerDiscreteScheduler.from_config(model.scheduler_config),
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def list_call(pipe: Any, most: int | None = None) -> Make:
    """Lists of prompts and generators, a call for all requests whose settings are equal.

    Args:
        pipe: of `pipeline`.
        most: images of one call, None for all that there are.
    """

    def run(requests: Sequence[ImageRequest]) -> list[Any]:
        made = []
        for _, group in groupby(sorted(requests, key=_settings), _settings):
            chosen = list(group)
            size = most or len(chosen)
            for begin in range(0, len(chosen), size):
                made.extend(_call(pipe, chosen[begin : begin + size]))
        return made

    return run


def loop(pipe: Any) -> Make:
    """One call an image."""
    return lambda requests: [_call(pipe, [request]) for request in requests]


def _settings(request: ImageRequest) -> tuple[int, int, int, float]:
    return (
        request.width or 0,
        request.height or 0,
        request.num_inference_steps,
        request.guidance_scale,
    )


def _call(pipe: Any, requests: Sequence[ImageRequest]) -> Any:
    first = requests[0]
    return pipe(
        prompt=[request.prompt for request in requests],
        negative_prompt=[request.negative_prompt for request in requests],
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        width=first.width,
        height=first.height,
        output_type="np",
    ).images
