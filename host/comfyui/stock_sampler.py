"""A SAMPLER of ComfyUI's -> one in which each image of a batch has the noise of its own seed.

A sampler that draws noise in its steps draws it from one generator for the whole batch, seeded by
one number: image k would depend on the images before it. Most can be handed a function that draws,
or a seed for each image; with those each image gets exactly the noise that ComfyUI gives it alone.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

from ...core.errors import InvalidRequest
from ...core.seeds import MAX_SEED, make_generator
from .sampler_table import Noise, noise_of

if TYPE_CHECKING:
    import torch

Function = Callable[..., Any]

#: Where a copy keeps what it is a copy of.
_STOCK = "batch_sdxl_stock"


class SeedsOfImages(tuple[int, ...]):
    """The seed of a NOISE for several images: what takes it for a number is told why not."""

    def _refuse(self, _other: object = None) -> NoReturn:
        raise InvalidRequest(
            "a sampler that takes a seed for each image",
            "one that takes a single number",
            "Wire the sampler through Seeds to Noise, which gives each image its own noise.",
        )

    __add__ = __radd__ = __sub__ = __mul__ = __mod__ = __int__ = __index__ = _refuse


def for_images(sampler: Any, seeds: tuple[int, ...]) -> Any:
    """A copy of a SAMPLER for a batch with these seeds; the given one is not changed.

    Raises:
        InvalidRequest: in a batch this sampler can't give each image its own noise; the message
            says why.
    """
    # Of a sampler that has been through here before, the stock one.
    stock = getattr(sampler, _STOCK, sampler)
    own = copy.copy(stock)
    if len(seeds) > 1:
        own.sampler_function = _for_each(stock, seeds, noise_of(stock))
        # Drawn for the whole batch; `_for_each` does it instead.
        own.inpaint_options = {**stock.inpaint_options, "random": False}
    elif hasattr(stock, "sampler_function"):
        own.sampler_function = _for_one(stock.sampler_function)
    setattr(own, _STOCK, stock)
    return own


def _for_one(function: Function) -> Function:
    @wraps(function)
    def sample(model: Any, x: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        _check_conditioning(model, len(x))
        return function(model, x, *arguments, **options)

    return sample


def _for_each(stock: Any, seeds: tuple[int, ...], noise: Noise) -> Function:
    function: Function = stock.sampler_function
    # As ddim: new noise for what lies outside the mask.
    repaints = bool(stock.inpaint_options.get("random"))

    @wraps(function)
    def sample(
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        _check_conditioning(model, len(x))
        check_count(len(x), len(seeds))
        arguments = {**(extra_args or {}), "seed": seeds[0]}
        if noise is Noise.TREES:
            arguments["seed"] = list(seeds)
        elif noise is Noise.HANDED:
            options["noise_sampler"] = _noise_sampler(function, x, seeds)
        if repaints and arguments.get("denoise_mask") is not None:
            model.noise = _repaint_noise(model.noise, seeds)
        return function(model, x, sigmas, extra_args=arguments, **options)

    return sample


def _noise_sampler(function: Function, x: torch.Tensor, seeds: tuple[int, ...]) -> Function:
    """Draws for each image what ComfyUI, of whatever version, draws for it alone."""
    import torch

    start = sys.modules[function.__module__].default_noise_sampler
    own = [start(x[k : k + 1], seed=seed) for k, seed in enumerate(seeds)]
    return lambda sigma, following: torch.cat([draw(sigma, following) for draw in own])


def _repaint_noise(noise: torch.Tensor, seeds: tuple[int, ...]) -> torch.Tensor:
    """As KSAMPLER draws it for one image: from the next seed, on the CPU."""
    import torch

    shape = (1, *noise.shape[1:])
    generators = [make_generator((seed + 1) % (MAX_SEED + 1)) for seed in seeds]
    return torch.cat([torch.randn(shape, generator=g) for g in generators]).to(noise)


def check_count(images: int, seeds: int) -> None:
    """Check that each image has its seed.

    Raises:
        InvalidRequest: the numbers differ.
    """
    if images != seeds:
        raise InvalidRequest(
            "as many seeds as images in the latent batch",
            f"{seeds} seeds and {images} images",
            "Wire noise, sampler and latent from the same Seeds to Noise; of a latent of one image "
            "it makes one for each seed.",
        )


def _check_conditioning(model: Any, images: int) -> None:
    """Refuse what ComfyUI would cut off or repeat without a word.

    Args:
        model: what a sampler function is given; the guider in it holds the conditionings.
        images: in the batch.
    """
    conditionings = getattr(getattr(model, "inner_model", None), "conds", None) or {}
    for kind, entries in conditionings.items():
        for entry in entries:
            for name, value in entry.get("model_conds", {}).items():
                rows = getattr(getattr(value, "cond", None), "shape", (1,))[0]
                if name in ("c_crossattn", "y") and rows not in (1, images):
                    raise InvalidRequest(
                        "as many prompts as images (or one prompt for all)",
                        f"{rows} {kind} prompts and {images} images",
                        "Wire the seeds of Prompts to Conditioning into Seeds to Noise.",
                    )
