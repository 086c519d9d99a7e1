"""Our blocks compute what diffusers' do, to the same bits."""

import copy
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from batch_sdxl.core.models import blocks
from batch_sdxl.core.models.blocks import use_plain_blocks
from batch_sdxl.core.models.row_layers import RowLinear, use_row_layers
from batch_sdxl.core.models.sdxl_config import UNET, VAE
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel


@pytest.fixture(scope="module")
def unets(tiny_folder: Path) -> tuple[Any, Any]:
    """The same with diffusers' blocks and with ours."""
    theirs = UNet2DConditionModel.from_pretrained(tiny_folder / "unet").eval()
    use_row_layers(theirs)
    ours = copy.deepcopy(theirs)
    use_plain_blocks(ours)
    return theirs, ours


def say(unet: Any, sample: torch.Tensor, **more: Any) -> torch.Tensor:
    """What a UNet says of rows, their prompts and so on being always the same."""
    rows = len(sample)
    draw = torch.Generator().manual_seed(1)
    added = {
        "text_embeds": torch.randn(rows, 32, generator=draw),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * rows),
    }
    text = torch.randn(rows, 77, 64, generator=draw)
    (output,) = unet(
        sample, torch.tensor(500.0), text, added_cond_kwargs=added, return_dict=False, **more
    )
    return torch.as_tensor(output)


def latents(rows: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(rows, 4, height, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("size", [(8, 8), (16, 24)])
def test_a_unet_says_the_same(unets: tuple[Any, Any], rows: int, size: tuple[int, int]) -> None:
    sample = latents(rows, *size)
    with torch.inference_mode():
        theirs, ours = (say(unet, sample) for unet in unets)
    assert torch.equal(theirs, ours)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_vae_says_the_same(tiny_folder: Path, layout: Any) -> None:
    theirs = AutoencoderKL.from_pretrained(tiny_folder / "vae").eval().to(memory_format=layout)
    ours = copy.deepcopy(theirs)
    use_plain_blocks(ours)
    assert any(isinstance(module, blocks.ResnetBlock2D) for module in ours.modules())
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        for sample in (latents(1, 8, 8), latents(1, 16, 8)):
            assert torch.equal(theirs.decode(sample).sample, ours.decode(sample).sample)
        expected = theirs.encode(pixels).latent_dist.mean
        assert torch.equal(expected, ours.encode(pixels).latent_dist.mean)


def test_what_came_is_not_written_over(unets: tuple[Any, Any]) -> None:
    """Blocks write over results of their own only."""
    _, ours = unets
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = [*args, *named.values()]
        seen.extend((one, one.clone()) for one in given if isinstance(one, torch.Tensor))

    modules = [module for module in ours.modules() if type(module).__module__ == blocks.__name__]
    hooks = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in modules]
    with torch.inference_mode():
        say(ours, latents(2, 8, 8))
    for hook in hooks:
        hook.remove()
    assert len(seen) > len(modules)
    assert all(torch.equal(before, after) for before, after in seen)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_recorded_as_ever(unets: tuple[Any, Any], checkpointing: bool) -> None:
    def gradient(unet: Any) -> torch.Tensor:
        unet = copy.deepcopy(unet)
        if checkpointing:
            unet.train().enable_gradient_checkpointing()
        sample = latents(2, 8, 8).requires_grad_()
        (found,) = torch.autograd.grad(say(unet, sample).sum(), sample)
        return found

    theirs, ours = (gradient(unet) for unet in unets)
    assert torch.equal(theirs, ours)


def test_gradients_come_through_large_layers() -> None:
    layer = RowLinear(1024, 1024)
    rows = torch.randn(2, 32, 1024, requires_grad=True)
    (found,) = torch.autograd.grad(layer(rows).sum(), rows)
    assert torch.allclose(found, layer.weight.sum(0).expand_as(found), atol=1e-4)


def test_another_attention_is_used(unets: tuple[Any, Any]) -> None:
    sample = latents(2, 8, 8)
    theirs, ours = (copy.deepcopy(unet) for unet in unets)

    class Louder(AttnProcessor2_0):  # type: ignore[misc]
        def __call__(self, *args: Any, **named: Any) -> torch.Tensor:
            return torch.as_tensor(super().__call__(*args, **named) * 1.5)

    for processor in (AttnProcessor(), Louder()):
        for unet in (theirs, ours):
            unet.set_attn_processor(processor)
        with torch.inference_mode():
            other = say(ours, sample)
            assert torch.equal(say(theirs, sample), other)
            assert not torch.equal(say(unets[1], sample), other)
    with torch.inference_mode():
        ours.set_attn_processor(AttnProcessor2_0())
        assert torch.equal(say(ours, sample), say(unets[1], sample))


@pytest.mark.parametrize(
    "part", ["attn1", "ff", "net.2", "to_out.0", "to_out.1", "norm1", "conv1", "conv2", "proj_out"]
)
def test_what_a_program_keeps_of_a_part_is_not_written_over(
    unets: tuple[Any, Any], part: str
) -> None:
    """Caches of attention, of diffusers and others, give again what they saw a step ago."""
    sample = latents(2, 8, 8)

    def later(unet: Any) -> torch.Tensor:
        unet = copy.deepcopy(unet)
        kept: dict[Any, torch.Tensor] = {}
        for name, module in unet.named_modules():
            if name.endswith(part):
                module.register_forward_hook(lambda own, args, out: kept.setdefault(own, out))
        say(unet, sample)
        return say(unet, 2 * sample)

    with torch.inference_mode():
        theirs, ours = (later(unet) for unet in unets)
        assert torch.equal(theirs, ours)
        assert not torch.equal(say(unets[1], 2 * sample), ours)


@pytest.mark.parametrize("part", ["proj_out", "to_q", "attn1", "attn2", "ff", "net.2", "conv1"])
def test_a_part_of_another_kind_takes_its_place(unets: tuple[Any, Any], part: str) -> None:
    """As an adapter is put around a layer."""

    class Louder(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *args: Any, **named: Any) -> torch.Tensor:
            return torch.as_tensor(1.5 * self.inner(*args, **named))

    sample = latents(2, 8, 8)
    theirs, ours = (copy.deepcopy(unet) for unet in unets)
    for unet in (theirs, ours):
        for name in [name for name, _ in unet.named_modules() if name.endswith(part)]:
            unet.set_submodule(name, Louder(unet.get_submodule(name)))
    with torch.inference_mode():
        assert torch.equal(say(theirs, sample), say(ours, sample))
        assert not torch.equal(say(unets[1], sample), say(ours, sample))


def test_weights_may_lie_elsewhere_until_a_layer_is_called(unets: tuple[Any, Any]) -> None:
    ours = copy.deepcopy(unets[1])
    accelerate.cpu_offload(ours, torch.device("cpu"))
    with torch.inference_mode():
        assert torch.equal(say(unets[1], latents(2, 8, 8)), say(ours, latents(2, 8, 8)))


def test_autocast_chooses_dtypes_as_ever(unets: tuple[Any, Any]) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        theirs, ours = (say(unet, latents(2, 8, 8)) for unet in unets)
    assert torch.equal(theirs, ours)


def test_diffusers_finds_blocks_by_their_names(unets: tuple[Any, Any]) -> None:
    """To compile them one by one, and to spread them over devices."""
    theirs, ours = unets
    names = [[type(module).__name__ for module in unet.modules()] for unet in unets]
    assert names[0] == names[1]
    compiled = copy.deepcopy(ours)
    compiled.compile_repeated_blocks(backend="eager")
    sample = latents(2, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(say(compiled, sample), say(theirs, sample), atol=1e-5)


def test_masks_of_prompts_are_heeded(unets: tuple[Any, Any]) -> None:
    mask = torch.ones(2, 77)
    mask[:, 40:] = 0
    sample = latents(2, 8, 8)
    with torch.inference_mode():
        theirs, ours = (say(unet, sample, encoder_attention_mask=mask) for unet in unets)
        unmasked = say(unets[1], sample)
    assert torch.equal(theirs, ours)
    assert not torch.equal(ours, unmasked)


def test_all_blocks_of_sdxl_are_ours() -> None:
    theirs = {
        Attention,
        BasicTransformerBlock,
        FeedForward,
        GEGLU,
        ResnetBlock2D,
        Transformer2DModel,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        vae = AutoencoderKL(**VAE)
    use_row_layers(unet)
    for part in (unet, vae):
        use_plain_blocks(part)
        use_plain_blocks(part)  # of a second engine
    assert not theirs & {type(module) for module in unet.modules()}
    left = theirs & {type(module) for module in vae.modules()}
    assert left == {Attention}, "which has a norm and a residual of its own"
