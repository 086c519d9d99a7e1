"""Samplers mean what they mean in diffusers, with a spacing what they mean in ComfyUI."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.samplers.choice import count_calls, plan_sigmas, start_course
from batch_sdxl.core.samplers.levels import Levels
from batch_sdxl.core.samplers.noise import from_path
from batch_sdxl.core.samplers.plan import Interval, plan_calls
from batch_sdxl.core.samplers.spacings import SPACINGS
from batch_sdxl.core.samplers.table import SAMPLERS, check_steps
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
    *("dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "er_sde", "res_multistep_ancestral"),
    *("sa_solver", "sa_solver_pece", "seeds_2", "seeds_3"),
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
            **{
                "prompt": prompt,
                "seed": seed,
                "scheduler": name,
                "num_inference_steps": STEPS,
                "empty_negative": "empty",
                **changes,
            }
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
        **changes,
    }
    return start_course(name, config, steps, **arguments)


def run(course: Any, noise: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
    course.start(noise, image)
    while not course.is_done:
        course.advance(unet(course.model_input(), torch.tensor(course.timestep)))
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
    "normal": "14.615 6.678 3.5221 2.0606 1.2768 0.79126 0.43967 0.029167 0",
    "karras": "14.615 7.9029 4.0277 1.9104 0.82887 0.32112 0.1072 0.029167 0",
    "exponential": "14.615 6.013 2.4739 1.0179 0.41879 0.1723 0.070891 0.029167 0",
    "beta": "14.615 10.483 5.6866 2.9636 1.6183 0.91983 0.51539 0.24327 0",
    "sgm_uniform": "14.615 7.302 4.0861 2.496 1.6156 1.0712 0.69515 0.3997 0",
    "simple": "14.615 7.2974 4.0817 2.4925 1.6129 1.069 0.6932 0.39775 0",
    "ddim_uniform": "7.3718 4.1167 2.5109 1.6237 1.076 0.6984 0.40222 0.041314 0",
    "linear_quadratic": "14.615 14.523 14.432 14.341 14.249 13.29 10.596 6.1656 0",
    "kl_optimal": "14.615 3.4935 1.8781 1.1879 0.77704 0.48319 0.24433 0.029167 0",
}


@pytest.mark.parametrize("spacing", COMFYUI)
def test_a_spacing_has_comfyuis_noise_levels(spacing: str) -> None:
    expected = [float(sigma) for sigma in COMFYUI[spacing].split()]
    np.testing.assert_allclose(plan_sigmas(f"euler:{spacing}", SDXL, 8), expected, rtol=1e-4)


def test_align_your_steps_is_its_authors_table_and_even_between() -> None:
    from diffusers.schedulers import AysSchedules

    table = AysSchedules["StableDiffusionXLSigmas"]
    np.testing.assert_allclose(plan_sigmas("euler:ays", SDXL, 10), table)
    finer = plan_sigmas("euler:ays", SDXL, 20)
    np.testing.assert_allclose(finer[:-1:2], table[:-1])
    assert finer[1] ** 2 == pytest.approx(table[0] * table[1])


@pytest.mark.parametrize("sampler", ["dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"])
def test_some_plan_one_step_more_and_drop_the_last_but_one(sampler: str) -> None:
    for spacing in SPACINGS:
        whole = plan_sigmas(f"euler:{spacing}", SDXL, 9)
        assert plan_sigmas(f"{sampler}:{spacing}", SDXL, 8) == [*whole[:-2], 0.0], spacing


def test_zero_terminal_snr_ends_where_comfyuis_does() -> None:
    config = SDXL | {"rescale_betas_zero_snr": True}
    assert plan_sigmas("euler:karras", config, 8)[0] == pytest.approx(4518.8, rel=1e-5)
    assert run(start("dpmpp_2m:simple", 8, config), torch.ones(1, 4, 8, 8)).isfinite().all()


def test_the_first_noise_is_as_strong_as_in_training() -> None:
    noise, image = torch.ones(1, 4, 8, 8), torch.full((1, 4, 8, 8), 3.0)
    largest = Levels(SDXL).largest
    whole = (largest**2 + 1) ** 0.5
    for strength, picture, expected in [
        (None, None, whole),
        (1.0, image, 3 + whole),
        (0.5, image, 3 + plan_sigmas("euler:normal", SDXL, 8)[4]),
    ]:
        course = start("euler:normal", 8, strength=strength)
        course.start(noise, picture)
        torch.testing.assert_close(course.latents, torch.full_like(noise, expected))
    # Its noise levels begin below the largest.
    course = start("euler:ddim_uniform", 8)
    course.start(noise, None)
    assert course.latents.max() < 8


def test_strength_leaves_out_first_steps_as_diffusers_does() -> None:
    assert count_calls("euler:karras", SDXL, 30) == 30
    assert count_calls("euler:karras", SDXL, 30, 0.5) == 15
    assert count_calls("euler:karras", SDXL, 10, 0.33) == 3
    assert count_calls("heun:karras", SDXL, 10, 0.33) == count_calls("heun", SDXL, 10, 0.33) == 5


def of_a_gaussian(name: str, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First latents and last ones, where the images are noise with a deviation of 1/2.

    The best possible model is known then: it shrinks the sample by the image's share of variance.
    """
    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(3))
    course = start(name, steps, shape=tuple(noise.shape))
    course.start(noise, None)
    first = course.latents
    while not course.is_done:
        # What it predicts of a scaled sample, whatever the noise level.
        sample = course.model_input()
        signal = float((sample[0, 0, 0, 0] / course.latents[0, 0, 0, 0]) ** 2)
        course.advance(sample * (1 - signal) ** 0.5 / (1 - signal + signal / 4))
    return first, course.latents


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in STOCHASTIC])
def test_without_noise_of_its_own_a_sampler_solves_a_known_equation(name: str) -> None:
    first, last = of_a_gaussian(f"{name}:karras", 40)
    exact = first * 0.5 / (0.25 + Levels(SDXL).largest ** 2) ** 0.5
    first_order = name in ("euler", "ddim", "gradient_estimation", "heunpp2")
    assert (last - exact).abs().max() / exact.abs().max() < (0.15 if first_order else 0.01)


@pytest.mark.parametrize("name", [name for name in STOCHASTIC if name != "lcm"])
def test_with_noise_of_its_own_a_sampler_makes_images_of_the_right_spread(name: str) -> None:
    first, last = of_a_gaussian(f"{name}:karras", 40)
    first_order = name in ("euler_ancestral", "ddpm")
    assert float(last.std()) == pytest.approx(0.5, rel=0.1 if first_order else 0.06)
    assert float(torch.corrcoef(torch.stack([first.flatten(), last.flatten()]))[0, 1]) < 0.9


def test_noise_of_steps_is_comfyuis_for_the_seed() -> None:
    """On a CPU its generator starts from the next seed."""
    course = start("euler_ancestral:normal", 2, seed=2**64 - 1)
    course.start(torch.zeros(1, 4, 8, 8), None)
    course.advance(torch.zeros(1, 4, 8, 8))
    drawn = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(course.latents / course.latents.std(), drawn / drawn.std())


def test_sa_solver_draws_noise_in_the_middle_of_its_way() -> None:
    """At both ends too, where twenty even steps stop."""
    sigmas = plan_sigmas("sa_solver:sgm_uniform", SDXL, 20)
    calls = plan_calls(SAMPLERS["sa_solver"].rule, sigmas, lambda sigma: sigma)
    assert [noise.following for call in calls for noise in call.drawn] == sigmas[4:17]


def test_a_brownian_path_is_its_own_over_any_steps() -> None:
    """The noise of a long step is the sum of that of the short ones in it."""
    draw = from_path(7, (1, 4, 8, 8), 0.03, 14.6)
    long, first, second = (
        draw(Interval(0, *ends)) * (ends[0] - ends[1]) ** 0.5
        for ends in ((9.0, 1.0), (9.0, 4.0), (4.0, 1.0))
    )
    torch.testing.assert_close(long, first + second)


@pytest.mark.comfy
@pytest.mark.skipif("COMFYUI_DIR" not in os.environ, reason="COMFYUI_DIR is not set")
def test_images_are_those_of_comfyuis_ksampler(tmp_path: Path) -> None:
    """Each sampler, with one spacing or another; `tools/sampler_table.py` compares all."""
    spacings = [spacing for spacing in SPACINGS if spacing != "ays"]  # in ComfyUI a node
    pairs = [f"{name}:{spacings[n % len(spacings)]}" for n, name in enumerate(SAMPLERS)]
    program = [os.environ.get("COMFYUI_PYTHON", sys.executable), "tools/sampler_table.py"]
    root = Path(__file__).parent.parent
    (tmp_path / "batch_sdxl").symlink_to(root)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    results = tmp_path / "figures.json"
    subprocess.run(
        [*program, "--results", str(results), "--steps", "8", "--pairs", *pairs],
        cwd=root,
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    figures = json.loads(results.read_text("utf-8"))
    assert len(figures) == len(pairs)
    for pair, figure in figures.items():
        assert figure["sigma 8"] < 1e-4, pair
        assert figure["pixel 8"] < 0.01, pair


@pytest.fixture(scope="module")
def company(tiny: Model) -> Callable[[Collection[str]], dict[str, GeneratedImage]]:
    """Images by names, all in one run beside one of another kind and length; each run is kept."""

    @cache
    def make(names: tuple[str, ...]) -> dict[str, GeneratedImage]:
        other = ImageRequest(prompt="x", seed=1, num_inference_steps=7, guidance_scale=1.0)
        beside = [other, *(requests(name)[0] for name in names)]
        images = {image.index: image for image in Engine(tiny).generate(beside)}
        return {name: images[at] for at, name in enumerate(names, 1)}

    return lambda names: make(tuple(names))


@pytest.mark.parametrize("names", [USUAL, pytest.param(PAIRS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_alone_as_in_company(
    sampler: str,
    names: Collection[str],
    company: Callable[[Collection[str]], dict[str, GeneratedImage]],
    render: Render,
) -> None:
    """With each spacing, next to all the others and to an image of another kind and length."""
    for name, image in company(names).items():
        if name.partition(":")[0] == sampler:
            (alone,) = render(requests(name)[:1])
            assert torch.equal(alone.decoded, image.decoded), name


def test_another_seed_is_another_image(render: Render) -> None:
    images = render(
        [
            ImageRequest(prompt="x", seed=seed, scheduler=name, num_inference_steps=2)
            for name in SAMPLERS
            for seed in (1, 2)
        ]
    )
    for one, other in zip(images[::2], images[1::2], strict=True):
        assert not torch.equal(one.decoded, other.decoded), one.request.scheduler


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


@pytest.mark.parametrize("zero", [False, True])
def test_too_many_steps_are_known_without_a_model(zero: bool) -> None:
    """All that noise levels do not allow, which have to fall; with zero terminal SNR too."""
    config = SDXL | ({"rescale_betas_zero_snr": True} if zero else {})
    for name in (f"{sampler}:{spacing}" for spacing in SPACINGS for sampler in ("euler", "dpm_2")):
        for steps in (999, 1000, 1001):
            sigmas = plan_sigmas(name, config, steps)
            if all(later < earlier for earlier, later in pairwise(sigmas)):
                check_steps(name, steps)
            else:
                with pytest.raises(InvalidRequest, match=r"at most (1000|999) steps of"):
                    check_steps(name, steps)
