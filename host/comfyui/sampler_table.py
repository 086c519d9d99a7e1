"""ComfyUI's samplers, by where the noise of their steps comes from.

Measured in ComfyUI 0.3.64 and 0.28.0, each image of a batch against itself alone. What is not in
the table is refused for more than one image: a sampler that draws for the whole batch from one
generator makes images that depend on their neighbours, and does not say so.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ...core.errors import InvalidRequest


class Noise(Enum):
    """Where the noise of a step comes from."""

    #: There is none.
    NONE = "none"
    #: A function that can be handed to the sampler.
    HANDED = "handed"
    #: Brownian trees, one an image where the sampler is given a list of seeds.
    TREES = "trees"


#: The names of ComfyUI's functions, less `sample_` or `_function`.
STEP_NOISE = {
    "ddpm": Noise.HANDED,
    "deis": Noise.NONE,
    "dpm_2": Noise.NONE,
    "dpm_2_ancestral": Noise.HANDED,
    "dpm_fast": Noise.NONE,
    "dpmpp_2m": Noise.NONE,
    "dpmpp_2m_cfg_pp": Noise.NONE,
    "dpmpp_2m_sde": Noise.TREES,
    "dpmpp_2m_sde_gpu": Noise.TREES,
    "dpmpp_2m_sde_heun": Noise.TREES,
    "dpmpp_2m_sde_heun_gpu": Noise.TREES,
    "dpmpp_2s_ancestral": Noise.HANDED,
    "dpmpp_2s_ancestral_cfg_pp": Noise.HANDED,
    "dpmpp_3m_sde": Noise.TREES,
    "dpmpp_3m_sde_gpu": Noise.TREES,
    "dpmpp_sde": Noise.TREES,
    "dpmpp_sde_gpu": Noise.TREES,
    "er_sde": Noise.HANDED,
    "euler": Noise.NONE,  # and ddim, which in ComfyUI is euler
    "euler_ancestral": Noise.HANDED,
    "euler_ancestral_cfg_pp": Noise.HANDED,
    "euler_cfg_pp": Noise.NONE,
    "exp_heun_2_x0": Noise.NONE,
    "exp_heun_2_x0_sde": Noise.HANDED,
    "gradient_estimation": Noise.NONE,
    "gradient_estimation_cfg_pp": Noise.NONE,
    "heun": Noise.NONE,
    "heunpp2": Noise.NONE,
    "ipndm": Noise.NONE,
    "ipndm_v": Noise.NONE,
    "lcm": Noise.HANDED,
    "lms": Noise.NONE,
    "res_multistep": Noise.NONE,
    "res_multistep_ancestral": Noise.HANDED,
    "res_multistep_ancestral_cfg_pp": Noise.HANDED,
    "res_multistep_cfg_pp": Noise.NONE,
    "sa_solver": Noise.HANDED,
    "sa_solver_pece": Noise.HANDED,
    "seeds_2": Noise.HANDED,
    "seeds_3": Noise.HANDED,
    "unipc": Noise.NONE,
    "unipc_bh2": Noise.NONE,
}

#: Samplers that cannot be right in a batch, and why.
_COUPLED = {
    "dpm_adaptive": "it chooses its steps by the error of all images together",
    "ar_video": "it is for video",
}

#: Options that make a sampler draw, or measure, over the whole batch.
_COUPLING_OPTIONS = {
    "s_churn": "it draws noise for all images at once",
    "noise_clip_std": "it measures the noise of all images together",
    "noise_sampler": "the noise of its steps is decided already",
}


def noise_of(sampler: Any) -> Noise:
    """Where a SAMPLER's noise comes from, if it can be each image's own.

    Raises:
        InvalidRequest: it can't, or is not known; the message says why.
    """
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", type(sampler).__name__)
    name = name.removeprefix("sample_").removesuffix("_function")
    known = str(getattr(function, "__module__", "")).startswith("comfy.")
    reason = ""
    if known and name in _COUPLED:
        reason = _COUPLED[name]
    elif not known or name not in STEP_NOISE:
        reason = "it is not among those that were measured, and may draw noise for all together"
    else:
        for option, why in _COUPLING_OPTIONS.items():
            if sampler.extra_options.get(option):
                reason = f"with {option} {why}"
    if reason:
        raise InvalidRequest(
            "a sampler in which each image of a batch can have its own noise",
            f"{name}: {reason}",
            "Choose another (euler, dpmpp_2m, dpmpp_2m_sde), or make the images one by one.",
        )
    return STEP_NOISE[name]
