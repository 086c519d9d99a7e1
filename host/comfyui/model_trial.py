"""Whether patches of a model take each row of a UNet call, and each call, for itself."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: Rows of the calls that are tried, and width and height of their latents.
_ROWS, _SIDE = 4, 32

#: A whole step in the middle, the same for all rows.
_STEP = 500.0

Call = Callable[..., torch.Tensor]


def try_patches(
    call: Call, state: Callable[[], str], embeds: torch.Tensor, vectors: torch.Tensor
) -> str:
    """What should be and is not: of patches whose rows depend on anything else; empty if all is.

    Args:
        call: of steps (R,), latents (R, 4, h, w), embeddings (R, T, C), vectors (R, D) and sides
            (R,) -> (R, 4, h, w).
        state: what the patches hold at the moment.
        embeds: (1, T, C), of any prompt, on the device.
        vectors: (1, D), of any size, likewise.
    """
    was = torch.get_rng_state()
    draw = torch.Generator().manual_seed(0)

    def drawn(like: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(_ROWS, *like.shape[1:], generator=draw)
        return noise.to(like) * like.std()

    steps = torch.full((_ROWS,), _STEP, device=embeds.device)
    latents = embeds.new_zeros(1, 4, _SIDE, _SIDE)
    sides = torch.arange(_ROWS) % 2 == 0
    sample = torch.randn(_ROWS, *latents.shape[1:], generator=draw).to(latents)
    first = [sample, drawn(embeds), drawn(vectors)]
    other = [-part for part in first]
    expected = call(steps, *first, sides)
    if not torch.equal(call(steps, *first, sides), expected):
        return "patches that give the same for the same"
    held = state()
    for place in (0, _ROWS - 1):
        mixed = [part.clone() for part in other]
        for part, own in zip(mixed, first, strict=True):
            part[place] = own[place]
        if not torch.equal(call(steps, *mixed, sides)[place], expected[place]):
            return "patches of which each takes a row of a call for itself"
    if state() != held:
        return "patches that keep nothing from one call of the UNet to the next"
    if not torch.equal(torch.get_rng_state(), was):
        return "patches that draw nothing from a generator for all"
    return ""
