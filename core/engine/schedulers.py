"""Names -> a fresh scheduler.

A name is a sampler as ComfyUI's users know it (`euler`, `dpmpp_2m`), alone or with a spacing of
its noise levels: `dpmpp_2m:karras`. Alone it keeps the spacing that the model's own scheduler has,
which is what diffusers does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidRequest
from ..wording import meant

if TYPE_CHECKING:
    import torch

#: Spacing -> what it sets in a diffusers scheduler. `normal`, `simple`, `sgm_uniform` and
#: `ddim_uniform` choose timesteps (arXiv:2305.08891, table 2); the others choose sigmas between
#: those of the first and the last timestep (arXiv:2206.00364, eq. 5; arXiv:2407.12173).
SPACINGS: dict[str, dict[str, Any]] = {
    "normal": {"timestep_spacing": "linspace"},
    "karras": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "exponential": {"timestep_spacing": "linspace", "use_exponential_sigmas": True},
    "beta": {"timestep_spacing": "linspace", "use_beta_sigmas": True},
    "sgm_uniform": {"timestep_spacing": "trailing"},
    "simple": {"timestep_spacing": "trailing"},
    "ddim_uniform": {"timestep_spacing": "leading", "steps_offset": 1},
}

_ALL = tuple(SPACINGS)
_TIMESTEPS = ("normal", "sgm_uniform", "simple", "ddim_uniform")


class Sampler(NamedTuple):
    """A diffusers scheduler class, what it is set to, and the spacings it can take."""

    class_name: str
    config: dict[str, Any]
    spacings: tuple[str, ...]


_MULTISTEP = "DPMSolverMultistepScheduler"

SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler("EulerDiscreteScheduler", {}, _ALL),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler", {}, _TIMESTEPS),
    "heun": Sampler("HeunDiscreteScheduler", {}, _ALL),
    "dpm_2": Sampler("KDPM2DiscreteScheduler", {}, _ALL),
    "dpm_2_ancestral": Sampler("KDPM2AncestralDiscreteScheduler", {}, _ALL),
    "lms": Sampler("LMSDiscreteScheduler", {}, _ALL),
    "dpmpp_sde": Sampler("DPMSolverSDEScheduler", {}, _ALL),
    "dpmpp_2m": Sampler(_MULTISTEP, {"algorithm_type": "dpmsolver++"}, _ALL),
    "dpmpp_2m_sde": Sampler(_MULTISTEP, {"algorithm_type": "sde-dpmsolver++"}, _ALL),
    "dpmpp_3m_sde": Sampler(
        _MULTISTEP, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}, _ALL
    ),
    "deis": Sampler("DEISMultistepScheduler", {}, _ALL),
    # At a last sigma of zero bh1 divides zero by zero.
    "uni_pc": Sampler(
        "UniPCMultistepScheduler", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}, _ALL
    ),
    "uni_pc_bh2": Sampler("UniPCMultistepScheduler", {"solver_type": "bh2"}, _ALL),
    "ddim": Sampler("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}, _TIMESTEPS),
    "ddpm": Sampler("DDPMScheduler", {"clip_sample": False}, _TIMESTEPS),
    "lcm": Sampler("LCMScheduler", {"clip_sample": False}, ("normal",)),
}

#: What a model says about its noise, which every scheduler has to know.
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


def check_scheduler(name: str) -> None:
    """Check that a name is one of ours.

    Raises:
        InvalidRequest: the sampler or the spacing is unknown, or they do not combine; the message
            lists what there is.
    """
    sampler_name, _, spacing = name.partition(":")
    sampler = SAMPLERS.get(sampler_name)
    if sampler is None:
        raise InvalidRequest(
            "the name of a sampler",
            repr(sampler_name),
            f"{meant(sampler_name, SAMPLERS)} Choose one of {', '.join(SAMPLERS)}.".strip(),
        )
    if ":" in name and spacing not in sampler.spacings:
        raise InvalidRequest(
            f"a scheduler that goes with the sampler {sampler_name}",
            repr(spacing),
            f"{meant(spacing, sampler.spacings)} "
            f"Choose one of {', '.join(sampler.spacings)}.".lstrip(),
        )


def start_scheduler(
    name: str,
    model_config: Mapping[str, Any],
    num_inference_steps: int,
    *,
    seed: int,
    strength: float | None = None,
) -> tuple[Any, torch.Tensor]:
    """A new diffusers scheduler that shares no state with any other, and the timesteps to run.

    Args:
        name: see the module.
        model_config: configuration of the scheduler that the model was stored with.
        num_inference_steps: 1 or more.
        seed: of the image, for the one scheduler that takes no generator (DPMSolverSDE).
        strength: share of the steps to run on an input image; None for all of them.

    Returns:
        The scheduler, and (N,) timesteps on the CPU; N is not the number of steps for samplers
        that call the model twice a step.

    Raises:
        InvalidRequest: the sampler can't take that many steps, or the model's noise.
    """
    config = {key: model_config[key] for key in _OF_THE_MODEL if model_config.get(key) is not None}
    if "trained_betas" in config:
        config["trained_betas"] = tuple(config["trained_betas"])
    # Some take longer to plan their steps than a UNet call does.
    scheduler = copy.deepcopy(_planned(name, tuple(config.items()), num_inference_steps))
    if hasattr(scheduler, "noise_sampler_seed"):
        scheduler.noise_sampler_seed = seed
    begin = 0
    if strength is not None:
        # As StableDiffusionXLImg2ImgPipeline.get_timesteps.
        run = min(int(num_inference_steps * strength), num_inference_steps)
        begin = (num_inference_steps - run) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    return scheduler, scheduler.timesteps[begin:]


@lru_cache(maxsize=64)
def _planned(name: str, settings: tuple[tuple[str, Any], ...], num_inference_steps: int) -> Any:
    """A scheduler with its steps planned, which is never run itself."""
    import inspect

    import diffusers

    sampler_name, _, spacing = name.partition(":")
    sampler = SAMPLERS[sampler_name]
    scheduler_class = getattr(diffusers, sampler.class_name)
    config = dict(settings) | sampler.config | (SPACINGS[spacing] if spacing else {})
    known = inspect.signature(scheduler_class.__init__).parameters
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
        raise InvalidRequest(
            "a sampler for a model of zero terminal SNR",
            repr(sampler_name),
            "Choose for example euler, euler_ancestral, dpmpp_2m or ddim.",
        )
    scheduler = scheduler_class(**{key: value for key, value in config.items() if key in known})
    try:
        scheduler.set_timesteps(num_inference_steps, device="cpu")
    except ValueError as error:
        raise InvalidRequest(
            f"a number of steps that {sampler_name} can take",
            f"{num_inference_steps} ({error})",
            "Take fewer steps, or another sampler.",
        ) from error
    return scheduler
