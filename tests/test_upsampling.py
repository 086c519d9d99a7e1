"""Upsampling computes what diffusers' does, in fewer products."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core.models.sdxl_config import UNET, VAE
from batch_sdxl.core.models.upsampling import Upsample2D, use_summed_upsampling
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models import upsampling

LAST = torch.channels_last


def pair(channels: int = 16, layout: Any = torch.contiguous_format, **more: Any) -> tuple[Any, Any]:
    """Diffusers' and ours, of the same weights."""
    torch.manual_seed(0)
    theirs = upsampling.Upsample2D(channels, use_conv=True, **more).to(memory_format=layout)
    ours = copy.deepcopy(theirs)
    use_summed_upsampling(ours)
    assert type(ours) is Upsample2D
    return theirs.eval(), ours.eval()


def rows(count: int, height: int, width: int, channels: int = 16) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, height, width, generator=draw)


def is_near(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1), (1, 6)])
@pytest.mark.parametrize("more", [{}, {"bias": False}, {"out_channels": 24}])
def test_it_is_a_convolution_of_the_large_image(
    layout: Any, size: tuple[int, int], more: dict[str, Any]
) -> None:
    theirs, ours = pair(layout=layout, **more)
    sample = rows(3, *size).contiguous(memory_format=layout)
    with torch.inference_mode():
        expected, found = theirs(sample), ours(sample)
        assert is_near(expected, found)
        assert found.is_contiguous(memory_format=layout)
        assert torch.equal(found, ours(sample, None))
    assert not torch.equal(expected, found), "it is computed in another way"


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_a_row_has_the_same_bits_beside_any_others(size: tuple[int, int]) -> None:
    _, ours = pair(64)
    sample = rows(32, *size, 64)
    with torch.inference_mode():
        whole = ours(sample)
        for count in (2, 3, 7, 8, 20):
            for first in range(0, 32 - count + 1, 3):
                part = slice(first, first + count)
                assert torch.equal(ours(sample[part]), whole[part])


@torch.no_grad()
def change(conv: Any, how: str) -> None:
    """As programs change weights, `data` as PEFT does where it fuses a LoRA."""
    match how:
        case "in place":
            conv.weight[5, 3] += 1
        case "bias":
            conv.bias += 1
        case "data in place":
            conv.weight.data += 0.1
        case "data of one filter":
            conv.weight.data[5, 3] += 1
        case "other data":
            conv.weight.data = conv.weight.data * 2
        case "other weight":
            conv.weight = torch.nn.Parameter(conv.weight * 2)
        case "load":
            conv.load_state_dict({name: 2 * value for name, value in conv.state_dict().items()})


HOW = [
    "in place",
    "bias",
    "data in place",
    "data of one filter",
    "other data",
    "other weight",
    "load",
]


@pytest.mark.parametrize("how", HOW)
def test_a_change_of_the_weights_is_seen(how: str) -> None:
    theirs, ours = pair()
    sample = rows(2, 4, 4)
    with torch.inference_mode():
        before = ours(sample)
    for module in (theirs, ours):
        change(module.conv, how)
    with torch.inference_mode():
        assert is_near(theirs(sample), ours(sample))
        assert not is_near(before, ours(sample))


def with_gradients(module: Any, sample: torch.Tensor) -> torch.Tensor:
    given = sample.clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(module(given).sum(), given)
    return found


def with_other_edges(module: Any, sample: torch.Tensor) -> torch.Tensor:
    def convolve(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.pad(input, (1, 1, 1, 1), mode="circular")
        return torch.nn.functional.conv2d(around, weight, bias)

    module.conv._conv_forward = convolve
    return torch.as_tensor(module(sample))


def in_autocast(module: Any, sample: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.as_tensor(module(sample))


def with_a_hook(module: Any, sample: torch.Tensor) -> torch.Tensor:
    module.conv.register_forward_hook(lambda own, args, out: 2 * out)
    return torch.as_tensor(module(sample))


def with_another_layer(module: Any, sample: torch.Tensor) -> torch.Tensor:
    module.conv = torch.nn.Sequential(module.conv, torch.nn.Tanh())
    return torch.as_tensor(module(sample))


def as_a_graph(module: Any) -> Any:
    compiled: Any = torch.compile  # which has no types
    return compiled(module, backend="eager", fullgraph=True)


CASES: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "another size": lambda module, sample: module(sample, (7, 8)),
    "gradients": with_gradients,
    "half precision": lambda module, sample: module.to(torch.bfloat16)(sample.to(torch.bfloat16)),
    "autocast": in_autocast,
    "a hook": with_a_hook,
    "other edges": with_other_edges,
    "another layer": with_another_layer,
    "compiled": lambda module, sample: as_a_graph(module)(sample),
}


@pytest.mark.parametrize("case", CASES)
def test_else_it_is_diffusers_own(case: str) -> None:
    found = []
    for module in pair():
        with torch.no_grad():
            module(rows(2, 4, 4))  # to have something kept
            found.append(CASES[case](module, rows(2, 4, 4)))
    theirs, ours = found
    assert torch.equal(theirs, ours)


def test_weights_without_a_counter() -> None:
    """Those made in inference mode have none."""
    with torch.inference_mode():
        theirs, ours = pair()
        sample = rows(2, 4, 4)
        before = ours(sample)
        for module in (theirs, ours):
            module.conv.weight[5] *= 3
        assert is_near(theirs(sample), ours(sample))
        assert not is_near(before, ours(sample))


def test_no_rows() -> None:
    _, ours = pair()
    with torch.inference_mode():
        assert ours(rows(0, 4, 4)).shape == (0, 16, 8, 8)


def test_what_came_is_not_written_over() -> None:
    _, ours = pair()
    sample = rows(2, 4, 4)
    before = sample.clone()
    with torch.inference_mode():
        ours(sample)
    assert torch.equal(before, sample)


def test_weights_are_those_of_the_model(tiny_folder: Path) -> None:
    """What is kept beside them is not saved, nor moved."""
    vae = AutoencoderKL.from_pretrained(tiny_folder / "vae").eval()
    names = list(vae.state_dict())
    use_summed_upsampling(vae)
    with torch.inference_mode():
        vae.decode(torch.randn(1, 4, 8, 8))
    assert list(vae.state_dict()) == names


def test_all_upsampling_of_sdxl_is_ours() -> None:
    with torch.device("meta"):
        parts = (UNet2DConditionModel(**UNET), AutoencoderKL(**VAE))
    for part, count in zip(parts, (2, 3), strict=True):
        use_summed_upsampling(part)
        use_summed_upsampling(part)  # of a second engine
        kinds = [type(module) for module in part.modules()]
        assert kinds.count(Upsample2D) == count
        assert upsampling.Upsample2D not in kinds
