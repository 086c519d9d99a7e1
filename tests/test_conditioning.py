"""SDXL's own conditioning, other kinds of noise, and models of few steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import (
    Engine,
    GeneratedImage,
    Geometry,
    ImageRequest,
    Model,
    Progress,
    SizedRequest,
    load_model,
)
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.request.fields import canonical
from batch_sdxl.core.request.parameters import parameters
from batch_sdxl.core.request.record import Record

Render = Callable[[Sequence[ImageRequest]], list[GeneratedImage]]

BASE = SizedRequest(
    prompt="a red circle", negative_prompt="dim", seed=7, num_inference_steps=3, width=64, height=64
)


def unguided_from(first: int) -> Callable[..., dict[str, Any]]:
    """diffusers' way to turn guidance off from a step on, counted from 0."""

    def turn_off(pipeline: Any, step: int, timestep: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        if step + 1 == first:
            pipeline._guidance_scale = 1.0
            return {name: value.chunk(2)[-1] for name, value in inputs.items()}
        return inputs

    return turn_off


#: Our fields -> diffusers' arguments.
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"original_width": 32, "original_height": 48}, {"original_size": (48, 32)}),
    ({"crop_left": 16, "crop_top": 8}, {"crops_coords_top_left": (8, 16)}),
    ({"target_width": 128, "target_height": 256}, {"target_size": (256, 128)}),
    # Unguided, since diffusers skips no layers for the negative prompt.
    ({"clip_skip": 1, "guidance_scale": 1.0}, {"clip_skip": 1, "guidance_scale": 1.0}),
    ({"guidance_rescale": 0.7}, {"guidance_rescale": 0.7}),
    ({"guidance_end": 0.5}, {"callback_on_step_end": unguided_from(1)}),
]


def reference(folder: Path, scheduler: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """The image of diffusers' own pipeline."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.scheduler.config
    pipeline.scheduler = EulerDiscreteScheduler.from_config(config, **scheduler or {})
    usual: dict[str, Any] = {
        "prompt": BASE.prompt,
        "negative_prompt": BASE.negative_prompt,
        "num_inference_steps": BASE.num_inference_steps,
        "guidance_scale": BASE.guidance_scale,
        "width": 64,
        "height": 64,
        "generator": torch.Generator("cpu").manual_seed(BASE.seed),
        "output_type": "pt",
        "callback_on_step_end_tensor_inputs": ["prompt_embeds", "add_text_embeds", "add_time_ids"],
    }
    return pipeline(**usual | arguments).images[0].permute(1, 2, 0)


@pytest.mark.parametrize(("fields", "arguments"), SETTINGS)
def test_parity_with_diffusers(
    tiny_folder: Path,
    render: Render,
    fields: dict[str, Any],
    arguments: dict[str, Any],
    rounding: float,
) -> None:
    usual, changed = render([BASE, replace(BASE, **fields)])
    assert (changed.decoded - reference(tiny_folder, **arguments)).abs().max() < rounding
    assert (changed.decoded - usual.decoded).abs().max() > 10 * rounding


def test_each_image_has_its_own(render: Render) -> None:
    requests = [BASE, *(replace(BASE, **fields) for fields, _ in SETTINGS)]
    together = render(requests)
    assert len({image.decoded.numpy().tobytes() for image in together}) == len(requests)
    for image in together:
        (alone,) = render([image.request])
        assert torch.equal(alone.decoded, image.decoded)


def test_rows_that_guidance_leaves_go_to_other_images(tiny: Model) -> None:
    """Intervals of all kinds in calls of four rows, where some images have to wait a step."""
    intervals = [(0.5, 1.0), (0.5, 1.0), (0.0, 1.0), (0.3, 0.6), (0.0, 0.4), (0.9, 1.0)]
    requests = [
        replace(BASE, seed=k, num_inference_steps=6, guidance_start=start, guidance_end=end)
        for k, (start, end) in enumerate(intervals)
    ]
    engine = Engine(tiny, geometry=Geometry(4))
    calls: list[Progress] = []
    images = {i.index: i for i in engine.generate(requests, on_step=calls.append)}
    assert {progress.steps for progress in calls} >= {calls[-1].total_steps} == {36}
    in_flight = max(len(progress.running) for progress in calls)
    assert in_flight > 2, "two guided images fill four rows"
    for index, image in images.items():
        (alone,) = engine.generate(image.request)
        assert torch.equal(alone.decoded, image.decoded)
        assert index == image.request.seed
    assert len({image.decoded.numpy().tobytes() for image in images.values()}) == len(images)


@pytest.mark.parametrize("fields", [fields for fields, _ in SETTINGS])
def test_they_are_part_of_the_record_where_they_make_a_difference(
    tiny: Model, fields: dict[str, Any]
) -> None:
    request = replace(BASE, **fields)
    record = Engine(tiny).describe(request)
    assert record.identity != Engine(tiny).describe(BASE).identity
    assert Record.from_json(record.to_json(), "") == record
    assert record.request == request


def test_where_they_make_none_they_are_not() -> None:
    assert canonical(replace(BASE, original_width=64, target_height=64)) == canonical(BASE)
    off = replace(BASE, guidance_scale=1.0)
    assert canonical(replace(off, guidance_rescale=0.5)) == canonical(off)
    assert canonical(replace(off, clip_skip=1)) != canonical(off)


def test_other_programs_are_told_in_their_own_words(tiny: Model) -> None:
    record = Engine(tiny).describe(replace(BASE, clip_skip=1, guidance_rescale=0.7))
    assert "Clip skip: 3" in parameters(record)
    assert "CFG Rescale phi: 0.7" in parameters(record)


@pytest.mark.parametrize(
    "fields",
    [
        {"original_width": 0},
        {"target_height": -1},
        {"original_height": 1.5},
        {"crop_left": -1},
        {"crop_top": 0.5},
        {"clip_skip": -1},
        {"clip_skip": True},
        {"guidance_rescale": 1.1},
        {"guidance_rescale": float("nan")},
        {"guidance_start": 1.0},
        {"guidance_end": -0.1},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(InvalidRequest, match=name):
        replace(BASE, **fields)


@pytest.mark.parametrize(
    ("settings", "scheduler"),
    [
        ({"prediction_type": "v_prediction"}, {"prediction_type": "v_prediction"}),
        (
            {"prediction_type": "v_prediction", "zero_terminal_snr": True},
            {
                "prediction_type": "v_prediction",
                "rescale_betas_zero_snr": True,
                "timestep_spacing": "trailing",
            },
        ),
    ],
)
def test_models_of_other_noise_match_diffusers(
    tiny_folder: Path, settings: dict[str, Any], scheduler: dict[str, Any], rounding: float
) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp32", **settings)
    request = replace(BASE, guidance_rescale=0.7)
    (image,) = Engine(model).generate([request])
    expected = reference(tiny_folder, scheduler, guidance_rescale=0.7)
    assert expected.std() > 0.1
    assert (image.decoded - expected).abs().max() < rounding


def test_a_sampler_that_cannot_follow_the_noise_is_refused(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", zero_terminal_snr=True)
    with pytest.raises(InvalidRequest, match=r"zero terminal SNR, got 'dpm_2_ancestral'.*euler"):
        Engine(model).generate([replace(BASE, scheduler="dpm_2_ancestral")])
