"""Which models of ComfyUI's the engine can run: their family, their noise, their patches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from ....core.errors import UnsupportedModel
from ....core.models.sdxl_config import SCHEDULER
from ....core.samplers.levels import Levels

#: Options of a model that change what its UNet says, each row for itself, as far as is known.
_OF_THE_UNET = ("model_function_wrapper", "transformer_options")

#: Options that guide each image by functions of their own.
GUIDING = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")

#: What a model may carry that decides over more than one call, and what it is.
_COUPLING = {
    "context_handler": "windows over several frames",
    "multigpu_clones": "work split among several GPUs",
}

#: Of a ModelPatcher, likewise.
_OF_A_RUN = {
    "hook_patches": "weights that change in the course of a run",
    "forced_hooks": "weights that change in the course of a run",
    "injections": "modules that are put in for the length of a run",
    "additional_models": "further models",
}

#: ComfyUI's wrappers that lie around one UNet call, by their kind; others are around more of a run.
_AROUND_A_CALL = ("apply_model", "diffusion_model")


def check_kind(model: Any, clip: Any, vae: Any) -> None:
    """Check that the parts are SDXL's, and what is patched.

    Args:
        model: a ModelPatcher.
        clip: a CLIP.
        vae: a VAE.

    Raises:
        UnsupportedModel: they are not, or a patch decides over more than one call; the message
            says which.
    """
    import comfy.latent_formats
    import comfy.model_base

    base = model.model
    channels = getattr(base, "model_config", None) and base.model_config.unet_config.get(
        "in_channels"
    )
    if not isinstance(base, comfy.model_base.SDXL) or channels != 4:
        more = f" of {channels} input channels" if channels not in (4, None) else ""
        _refuse(
            "an SDXL model", f"a {type(base).__name__}{more}", "Load an SDXL checkpoint for MODEL."
        )
    if not isinstance(base.latent_format, comfy.latent_formats.SDXL):
        name = type(base.latent_format).__name__
        _refuse("an SDXL model with SDXL's latents", name, "Load another checkpoint.")
    encoders = getattr(clip, "cond_stage_model", None)
    if not (hasattr(encoders, "clip_l") and hasattr(encoders, "clip_g")):
        name = type(encoders).__name__ if encoders else "none"
        _refuse("SDXL's two text encoders", name, "Wire CLIP from the same loader as MODEL.")
    first = getattr(vae, "first_stage_model", None)
    shape = first and (vae.latent_channels, vae.latent_dim, vae.downscale_ratio)
    if shape != (4, 2, 8):
        name = type(first).__name__ if first else "none"
        _refuse("an SDXL VAE", name, "Wire VAE from the same loader as MODEL, or of Load VAE.")
    _check_run(model)
    if clip.patcher.forced_hooks is not None or clip.apply_hooks_to_conds:
        _refuse("a CLIP that stays the same", "one with hooks", "Take the hooks out.")


def patches_of(model: Any, options: Iterable[str] = _OF_THE_UNET) -> tuple[str, ...]:
    """Names of the functions in some options, by default of all that are part of UNet calls."""
    given = {name: model.model_options.get(name) for name in options}
    if options is _OF_THE_UNET:
        given["wrappers"] = model.wrappers
    return tuple(sorted({_name_of(one) for one in _functions(given)}))


def noise_of(sampling: Any) -> dict[str, Any]:
    """What a model's `model_sampling` says of its noise, in diffusers' words.

    Raises:
        UnsupportedModel: it is not the noise of SDXL.
    """
    import comfy.model_sampling

    kinds = {
        "v_prediction": comfy.model_sampling.V_PREDICTION,
        "epsilon": comfy.model_sampling.EPS,
    }
    scale = {kind.calculate_denoised: name for name, kind in kinds.items()}
    prediction = scale.get(type(sampling).calculate_denoised)
    same_input = type(sampling).calculate_input is comfy.model_sampling.EPS.calculate_input
    for zero in (False, True):
        config = {**SCHEDULER, "prediction_type": prediction}
        if zero:
            config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        levels = Levels(config).sigmas
        own = getattr(sampling, "sigmas", None)
        if own is None or len(own) != len(levels) or sampling.sigma_data != 1:
            break
        if prediction and same_input:
            expected = own.new_tensor(levels)
            if ((own - expected).abs() <= 1e-3 * expected).all():
                return config
    kind = " of ".join(base.__name__ for base in type(sampling).__bases__[::-1])
    _refuse(
        "noise as SDXL was trained with, of epsilon or v-prediction",
        kind or type(sampling).__name__,
        "Take out nodes such as ModelSamplingDiscrete with lcm or x0, or ModelSamplingContinuous; "
        "choose the sampler (lcm, say) in Batch Generate.",
    )


def _check_run(model: Any) -> None:
    for name, what in _OF_A_RUN.items():
        if any(_names_in(getattr(model, name, None))):
            names = ", ".join(sorted({*_names_in(getattr(model, name))}))
            _refuse(*_what(what, names))
    for name, value in model.model_options.items():
        if name in _OF_THE_UNET or not value:
            continue
        if name in _COUPLING:
            _refuse(*_what(_COUPLING[name], name))
        if name not in GUIDING and callable(value):
            names = ", ".join(sorted({*_names_in(value)}))
            _refuse(*_what("functions in place of Batch Generate's own calls", names))
    options = model.model_options["transformer_options"]
    around = [
        functions
        for wrappers in (model.wrappers, options.get("wrappers", {}))
        for kind, functions in wrappers.items()
        if kind not in _AROUND_A_CALL
    ]
    if found := sorted({*_names_in(around)}):
        _refuse(*_what("functions around the whole of ComfyUI's sampling", ", ".join(found)))
    # Those around loading and the whole of a run are called; this one is told of steps.
    stepwise = model.callbacks.get("on_prepare_state")
    if found := sorted({*_names_in([stepwise, options.get("callbacks")])}):
        _refuse(*_what("functions that follow ComfyUI's sampling", ", ".join(found)))


def _what(what: str, names: str) -> tuple[str, str, str]:
    return (
        "a model each of whose UNet calls stands for itself",
        f"{what} ({names})",
        "Take that node out from before Model From ComfyUI.",
    )


def _names_in(value: Any) -> list[str]:
    """Of all that a value of dictionaries and lists holds."""
    if isinstance(value, dict):
        return [name for one in value.values() for name in _names_in(one)]
    if isinstance(value, list | tuple | set):
        return [name for one in value for name in _names_in(one)]
    return [] if value is None else [_name_of(value)]


def _functions(value: Any) -> list[Any]:
    """What can be called in a value of dictionaries and lists."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in _functions(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in _functions(part)]
    return [value] if callable(value) else []


def _name_of(value: Any) -> str:
    """A name that a person can find the node by."""
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', type(value).__module__)}.{name}".rpartition("/")[2]


def _refuse(expected: str, got: str, action: str) -> NoReturn:
    raise UnsupportedModel(expected, got, action)
