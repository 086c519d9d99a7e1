"""The samplers on offer."""

from __future__ import annotations

from math import expm1
from typing import Any, NamedTuple

from ..errors import InvalidRequest
from ..wording import meant
from . import multistep, single_step, stochastic
from .rule import Rule
from .spacings import MOST_STEPS, SPACINGS


class Sampler(NamedTuple):
    """A sampler of ComfyUI's name.

    Attributes:
        rule: what it does.
        scheduler: class and settings of diffusers that its name means alone, where they do another
            thing than `rule` over the sigmas of diffusers' Euler; None if they do the same, or if
            diffusers has none.
        one_more: whether it plans one step more and leaves out the last but one. ComfyUI's way with
            samplers that call the model at, or near, the end of a step.
        brownian: whether its noise is that of one path, so that the noise of a long step is the sum
            of those of shorter ones.
    """

    rule: Rule
    scheduler: tuple[str, dict[str, Any]] | None = None
    one_more: bool = False
    brownian: bool = False


def _dpm_solver(algorithm: str, order: int = 2) -> tuple[str, dict[str, Any]]:
    settings = {"algorithm_type": algorithm, "solver_order": order}
    return "DPMSolverMultistepScheduler", settings


SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler(single_step.euler),
    "euler_ancestral": Sampler(single_step.euler_ancestral),
    "heun": Sampler(single_step.heun),
    "dpm_2": Sampler(single_step.dpm_2, one_more=True),
    "dpm_2_ancestral": Sampler(
        single_step.dpm_2_ancestral, ("KDPM2AncestralDiscreteScheduler", {}), one_more=True
    ),
    "lms": Sampler(multistep.adams_bashforth(4, lambda sigma: sigma), ("LMSDiscreteScheduler", {})),
    "dpmpp_sde": Sampler(single_step.dpmpp_sde, ("DPMSolverSDEScheduler", {}), brownian=True),
    "dpmpp_2m": Sampler(multistep.dpmpp_2m, _dpm_solver("dpmsolver++")),
    "dpmpp_2m_sde": Sampler(
        stochastic.dpmpp_sde_multistep(2, stochastic.midpoint),
        _dpm_solver("sde-dpmsolver++"),
        brownian=True,
    ),
    "dpmpp_3m_sde": Sampler(
        stochastic.dpmpp_sde_multistep(3, stochastic.exact),
        _dpm_solver("sde-dpmsolver++", 3),
        brownian=True,
    ),
    "deis": Sampler(
        multistep.adams_bashforth(3, multistep.vp_time), ("DEISMultistepScheduler", {})
    ),
    # At a last sigma of zero diffusers' bh1 divides zero by zero.
    "uni_pc": Sampler(
        multistep.uni_pc(3, lambda h: h),
        ("UniPCMultistepScheduler", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
        one_more=True,
    ),
    "uni_pc_bh2": Sampler(
        multistep.uni_pc(3, expm1),
        ("UniPCMultistepScheduler", {"solver_type": "bh2"}),
        one_more=True,
    ),
    "ddim": Sampler(
        single_step.euler, ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False})
    ),
    "ddpm": Sampler(single_step.euler_ancestral, ("DDPMScheduler", {"clip_sample": False})),
    "lcm": Sampler(single_step.lcm, ("LCMScheduler", {"clip_sample": False})),
    "dpmpp_2s_ancestral": Sampler(single_step.dpmpp_2s_ancestral),
    "dpmpp_2m_sde_heun": Sampler(
        stochastic.dpmpp_sde_multistep(2, stochastic.exact), brownian=True
    ),
    "dpm_fast": Sampler(single_step.dpm_fast),
    "ipndm": Sampler(multistep.ipndm),
    "res_multistep": Sampler(multistep.res_multistep),
    "gradient_estimation": Sampler(multistep.gradient_estimation),
    "er_sde": Sampler(stochastic.er_sde),
    "heunpp2": Sampler(single_step.heunpp2),
    "ipndm_v": Sampler(multistep.ipndm_v),
    "res_multistep_ancestral": Sampler(stochastic.res_multistep_ancestral),
    "sa_solver": Sampler(stochastic.sa_solver(evaluates_again=False)),
    "sa_solver_pece": Sampler(stochastic.sa_solver(evaluates_again=True)),
    "seeds_2": Sampler(single_step.seeds_2),
    "seeds_3": Sampler(single_step.seeds_3),
}


def with_parts(name: str, sampler: str, spacing: str) -> str:
    """A name with another sampler, another spacing or both; what is empty stays."""
    was, _, spaced = name.partition(":")
    return ":".join(filter(None, (sampler or was, spacing or spaced)))


def check_scheduler(name: str) -> None:
    """Check that a name is one of ours.

    Raises:
        InvalidRequest: the sampler or the spacing (ComfyUI's "scheduler") is unknown; the message
            lists what there is.
    """
    sampler, colon, spacing = name.partition(":")
    if sampler not in SAMPLERS:
        raise InvalidRequest(
            "the name of a sampler",
            repr(sampler),
            f"{meant(sampler, SAMPLERS)} Choose one of {', '.join(SAMPLERS)}.".lstrip(),
        )
    if colon and spacing not in SPACINGS:
        raise InvalidRequest(
            "the name of a scheduler",
            repr(spacing),
            f"{meant(spacing, SPACINGS)} Choose one of {', '.join(SPACINGS)}.".lstrip(),
        )


def check_steps(name: str, steps: int) -> None:
    """Refuse more steps than there are noise levels for, as far as no model need be there to tell.

    Args:
        name: one that `check_scheduler` lets pass.
        steps: 1 or more.

    Raises:
        InvalidRequest: there are too many.
    """
    sampler, _, spacing = name.partition(":")
    if spacing not in MOST_STEPS:
        return
    most = MOST_STEPS[spacing] - SAMPLERS[sampler].one_more
    if steps > most:
        raise InvalidRequest(
            f"at most {most} steps of {sampler} with {spacing}, which has no more noise levels",
            str(steps),
            "Take fewer steps, or another scheduler.",
        )
