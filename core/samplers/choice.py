"""A name, a model and a number of steps -> a course, planned once for all images alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from math import isclose
from typing import Any

import torch

from ..errors import InvalidRequest
from ..seeds import MAX_SEED, make_generator
from ..transfer import sent
from .course import Course
from .diffusers_course import DiffusersCourse, euler_table, planned_scheduler
from .levels import Levels
from .noise import from_generator, from_path
from .plan import Plan, plan_calls
from .spacings import SPACINGS
from .table import SAMPLERS, Sampler

_CPU = torch.device("cpu")

_Settings = tuple[tuple[str, Any], ...]

#: What a model says about its noise, which every sampler has to know.
_OF_THE_MODEL = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "steps_offset",
)


def start_course(
    name: str,
    model_config: Mapping[str, Any],
    num_inference_steps: int,
    *,
    seed: int,
    generator: torch.Generator,
    shape: tuple[int, ...],
    strength: float | None,
    device: torch.device = _CPU,
) -> Course | DiffusersCourse:
    """A new course, which shares nothing that changes with any other.

    Args:
        name: see the package.
        model_config: configuration of the scheduler that the model was stored with.
        num_inference_steps: 1 or more.
        seed: of the image.
        generator: of the image, which has drawn, or will draw, its first noise.
        shape: of the latents.
        strength: share of the steps to run on an input image; None for all of them.
        device: that the latents lie on.

    Raises:
        InvalidRequest: the sampler can't take that many steps, or the model's noise.
    """
    settings = _settings(model_config)
    if _is_diffusers(name):
        return DiffusersCourse(
            *planned_scheduler(name, settings, num_inference_steps, strength),
            seed=seed,
            generator=generator,
            device=device,
        )
    plan = _plan(name, settings, num_inference_steps, strength)
    if SAMPLERS[name.partition(":")[0]].brownian:
        draw = from_path(seed, shape, plan.lowest, plan.calls[0].sigma)
    elif ":" in name:
        # ComfyUI's noise of steps, on a CPU: that of the next seed.
        draw = from_generator(make_generator((seed + 1) & MAX_SEED), shape)
    else:
        draw = from_generator(generator, shape)
    return Course(
        plan,
        dict(settings).get("prediction_type", "epsilon"),
        lambda interval: sent(draw(interval), device),
    )


def count_calls(
    name: str,
    model_config: Mapping[str, Any],
    num_inference_steps: int,
    strength: float | None = None,
) -> int:
    """How often the model is called for an image; not the number of steps for samplers that call
    it twice a step.

    Args and Raises: as `start_course`.
    """
    settings = _settings(model_config)
    if _is_diffusers(name):
        return len(planned_scheduler(name, settings, num_inference_steps, strength)[1])
    return len(_plan(name, settings, num_inference_steps, strength).calls)


def _settings(model_config: Mapping[str, Any]) -> _Settings:
    config = {key: model_config[key] for key in _OF_THE_MODEL if model_config.get(key) is not None}
    if "trained_betas" in config:
        config["trained_betas"] = tuple(config["trained_betas"])
    return tuple(config.items())


def _is_diffusers(name: str) -> bool:
    return name in SAMPLERS and SAMPLERS[name].scheduler is not None


@lru_cache(maxsize=64)
def _plan(name: str, settings: _Settings, num_inference_steps: int, strength: float | None) -> Plan:
    sampler_name, _, spacing = name.partition(":")
    sampler = SAMPLERS[sampler_name]
    config = dict(settings)
    if spacing:
        levels = Levels(config)
        sigmas = _spaced(sampler, spacing, levels, num_inference_steps)
        timestep: Callable[[float], float] = levels.timestep
        whole = sigmas[0] > levels.largest or isclose(sigmas[0], levels.largest, rel_tol=1e-5)
        # Of a model without zero terminal SNR, the noise that it was trained on has an image in it.
        scale = (sigmas[0] ** 2 + 1) ** 0.5 if whole else sigmas[0]
    else:
        sigmas, timestep, scale = euler_table(config, num_inference_steps)
        whole = False
    if any(later >= earlier for earlier, later in pairwise(sigmas)):
        raise InvalidRequest(
            f"a number of steps for which {spacing} has as many noise levels",
            str(num_inference_steps),
            "Take fewer steps, or another spacing.",
        )
    begin = 0
    if strength is not None:
        # As StableDiffusionXLImg2ImgPipeline.get_timesteps.
        steps = len(sigmas) - 1
        begin = steps - max(min(int(steps * strength), steps), 1)
    sigmas = sigmas[begin:]
    return Plan(
        plan_calls(sampler.rule, sigmas, timestep),
        noise_scale=scale,
        noise_scale_on_image=scale if whole and not begin else sigmas[0],
        lowest=sigmas[-1] or sigmas[-2],
    )


def plan_sigmas(
    name: str, model_config: Mapping[str, Any], num_inference_steps: int
) -> list[float]:
    """The noise levels of a sampler with a spacing, falling, the last 0.

    Args: as `start_course`.
    """
    sampler, _, spacing = name.partition(":")
    levels = Levels(dict(_settings(model_config)))
    return _spaced(SAMPLERS[sampler], spacing, levels, num_inference_steps)


def _spaced(sampler: Sampler, spacing: str, levels: Levels, steps: int) -> list[float]:
    sigmas = SPACINGS[spacing](levels, steps + sampler.one_more)
    if sampler.one_more:
        del sigmas[-2]
    return sigmas
