"""Calls of any even number of rows give a row the same bits, or are not made."""

import pytest
import torch
from batch_sdxl.core import Geometry, Model
from batch_sdxl.core.engine.denoiser import Denoiser, Rows


def some_rows(model: Model, count: int, size: tuple[int, int] = (8, 8)) -> Rows:
    draw = torch.Generator().manual_seed(1)
    return Rows(
        torch.randn(16, 4, *size, generator=draw)[:count],
        torch.linspace(1, 981, 16)[:count],
        torch.randn(16, 77, model.unet.config.cross_attention_dim, generator=draw)[:count],
        torch.randn(16, 32, generator=draw)[:count],
        torch.tensor([[64.0, 64, 0, 0, 64, 64]] * count),
    )


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (12, 20)])
@pytest.mark.parametrize("geometry", [2, 4, 6, 8, 12])
def test_all_numbers_of_rows_agree(tiny: Model, geometry: int, size: tuple[int, int]) -> None:
    denoise = Denoiser(tiny)
    reference = denoise(some_rows(tiny, 8, size), Geometry(8))
    for count in range(1, min(geometry, 8) + 1):
        rows = denoise(some_rows(tiny, count, size), Geometry(geometry))
        assert torch.equal(rows, reference[:count])


def test_small_calls_are_small_where_the_machine_agrees(tiny: Model) -> None:
    sizes = calls_of(tiny, Denoiser(tiny), [3, 3, 2])
    assert sizes == [8, 2, 4, 6, 4, 4, 2]  # the trial, then the calls themselves


def test_calls_are_filled_up_where_it_does_not(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Denoiser(tiny)(some_rows(tiny, 3), Geometry(8))
    denoise = Denoiser(tiny)
    monkeypatch.setattr(denoise, "_try_small_calls", lambda rows, full: False)
    assert calls_of(tiny, denoise, [3, 2]) == [8, 8]
    assert torch.equal(denoise(some_rows(tiny, 3), Geometry(8)), reference)


def calls_of(model: Model, denoise: Denoiser, counts: list[int]) -> list[int]:
    """The numbers of rows that reach the UNet."""
    sizes: list[int] = []
    hook = model.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    try:
        for count in counts:
            denoise(some_rows(model, count), Geometry(8))
    finally:
        hook.remove()
    return sizes


def test_the_unet_is_left_as_it_was(tiny: Model) -> None:
    Denoiser(tiny)(some_rows(tiny, 2), Geometry(8))
    for module in tiny.unet.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
