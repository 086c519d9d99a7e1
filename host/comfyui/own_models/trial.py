"""Whether patches of a model take each row of a UNet call, and each call, for itself."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ....core.engine.conditions.side import SideCondition
from ....core.engine.conditions.size import SizeCondition
from ....core.engine.conditions.text import TextCondition
from ....core.engine.rows import Rows

#: Rows of the calls that are tried, and width and height of their latents.
_ROWS, _SIDE = 4, 32

#: A whole step in the middle, the same for all rows.
_STEP = 500.0

Call = Callable[..., torch.Tensor]


def try_patches(
    call: Call, kept: Callable[[], str], embeds: torch.Tensor, vectors: torch.Tensor
) -> str:
    """What should be and is not: of patches whose rows depend on anything else; empty if all is.

    Args:
        call: of steps (R,), latents (R, 4, h, w), embeddings (R, T, C), vectors (R, D) and sides
            (R,) -> (R, 4, h, w).
        kept: what patches hold at the moment.
        embeds: (1, T, C), of any prompt, on the device.
        vectors: (1, D), of any size, likewise.
    """
    was = torch.get_rng_state()
    steps = torch.full((_ROWS,), _STEP, device=embeds.device)
    sides = torch.arange(_ROWS) % 2 == 0
    first = [_drawn(_latents(embeds)), _drawn(embeds), _drawn(vectors)]
    other = [-part for part in first]
    expected = call(steps, *first, sides)
    for place in (0, _ROWS - 1):
        mixed = [part.clone() for part in other]
        for part, own in zip(mixed, first, strict=True):
            part[place] = own[place]
        if not torch.equal(call(steps, *mixed, sides)[place], expected[place]):
            return "patches of which each takes a row of a call for itself"
    before = kept()
    if not torch.equal(call(steps, *first, sides), expected) or kept() != before:
        return "patches that keep nothing from one call of the UNet to the next"
    if not torch.equal(torch.get_rng_state(), was):
        return "patches that draw nothing from a generator for all"
    return ""


def try_guidance(guide: Call, embeds: torch.Tensor, pooled: torch.Tensor) -> str:
    """Likewise, of functions that guide an image.

    Args:
        guide: `Backend.guide`.
        embeds: (1, T, C), of any prompt, on the device.
        pooled: (1, P), likewise.
    """
    steps = torch.full((2,), _STEP)
    sizes = torch.full((2, 6), 8.0 * _SIDE)
    sample, text, vectors = (_drawn(part)[:2] for part in (_latents(embeds).cpu(), embeds, pooled))
    guesses = _drawn(_latents(embeds).cpu())[2:]

    def guided(sign: int) -> torch.Tensor:
        conditions = (
            TextCondition(torch.split(sign * text, 1), sign * vectors),
            SizeCondition(sizes),
            SideCondition(torch.tensor([True, False])),
        )
        return guide(Rows(sign * sample, steps, conditions), sign * guesses, 5.0)

    expected = guided(1)
    guided(-1)
    if not torch.equal(guided(1), expected):
        return "guidance that keeps nothing from one image to the next"
    return ""


def _latents(like: torch.Tensor) -> torch.Tensor:
    return like.new_ones(1, 4, _SIDE, _SIDE)


def _drawn(like: torch.Tensor) -> torch.Tensor:
    """As many rows as a call has, of numbers as large as those of one row, (1, ...)."""
    draw = torch.Generator().manual_seed(like.ndim)
    noise = torch.randn(_ROWS, *like.shape[1:], generator=draw)
    return noise.to(like) * like.abs().mean()
