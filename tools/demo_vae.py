"""The model's VAE: pictures to latents of an eighth of their size, and back."""

from pathlib import Path
from random import Random

import numpy as np
import torch
from demo_training import TimedRun, start_as_identity
from diffusers import AutoencoderKL
from scenes import Pixels, draw, random_scene
from torch import nn
from torch.nn import functional

SCALING_FACTOR = 0.13025  # SDXL's own, so that whoever forgets to apply it sees it at once
PICTURES = 6000
CROP = 64
BATCH = 10
KL_WEIGHT = 3e-4


@torch.no_grad()
def build_vae() -> AutoencoderKL:
    """An untrained VAE: SDXL's class and layout, with few channels and no attention."""
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=SCALING_FACTOR,
        force_upcast=False,
    )
    start_as_identity(vae)
    # Nearly noiseless latents to begin with: at deviation 1 the decoder would see mostly noise.
    nn.init.zeros_(vae.quant_conv.weight[4:])
    nn.init.constant_(vae.quant_conv.bias[4:], -5.0)
    return vae


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """(..., H, W, 3) pixels as (..., 3, H, W) floats in -1..1."""
    return torch.from_numpy(pixels).movedim(-1, -3).float() / 127.5 - 1


def train_vae(work: Path, *, seconds: float) -> None:
    """Trains on crops of drawn pictures for so long, and writes `vae.pt` with its weights."""
    torch.manual_seed(1)
    random = Random(1)
    vae = build_vae()
    run = TimedRun(vae, work / "vae-run.pt", seconds=seconds, learning_rate=1.5e-3)
    pictures = np.stack([draw(random_scene(random, pair_share=0.4)) for _ in range(PICTURES)])
    for step in run.steps():
        crops = _augmented(to_tensor(_crops(pictures, random)), random)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(crops).latent_dist
            decoded = vae.decode(posterior.sample()).sample.float()
        divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
        error = decoded - crops
        loss = error.abs().mean() + 0.5 * edge_error(error) + KL_WEIGHT * divergence
        run.backward(loss)
        if step % 100 == 0:
            psnr = -10 * torch.log10(error.detach().square().mean() / 4).item()
            print(f"vae {step} {run.spent:.0f}s psnr {psnr:.1f} kl {divergence:.2f}", flush=True)
    _standardize(vae, to_tensor(pictures[:512]))
    torch.save(vae.state_dict(), work / "vae.pt")


def _crops(pictures: Pixels, random: Random) -> Pixels:
    top = 128 - CROP
    corners = [(random.randint(0, top), random.randint(0, top)) for _ in range(BATCH)]
    chosen = [pictures[random.randrange(len(pictures))] for _ in range(BATCH)]
    pairs = zip(chosen, corners, strict=True)
    return np.stack([picture[y : y + CROP, x : x + CROP] for picture, (y, x) in pairs])


def _augmented(crops: torch.Tensor, random: Random) -> torch.Tensor:
    """Every third crop in colours beside the palette: an input picture may have any."""
    for i in range(0, len(crops), 3):
        gain, shift = random.uniform(0.5, 1), random.uniform(-0.4, 0.4)
        channels = random.sample(range(3), 3)
        crops[i] = (crops[i, channels] * gain + shift).clamp(-1, 1)
    return crops


def edge_error(error: torch.Tensor) -> torch.Tensor:
    """Mean error of the differences between neighbours: what a blurred edge gets wrong."""
    across = functional.l1_loss(error[..., 1:], error[..., :-1])
    down = functional.l1_loss(error[..., 1:, :], error[..., :-1, :])
    return across + down


@torch.no_grad()
def _standardize(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Makes scaled latents of mean 0 and deviation 1 in each channel, which noise assumes.

    The change goes into the two 1x1 convolutions around the latents and is undone by the second.
    """
    parts = [pictures[k : k + 32] for k in range(0, len(pictures), 32)]
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in parts])
    mean = latents.mean((0, 2, 3))
    gain = 1 / (latents.std((0, 2, 3)) * SCALING_FACTOR)
    before, after = vae.quant_conv, vae.post_quant_conv
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
    after.weight /= gain[None, :, None, None]
    before.weight[:4] *= gain[:, None, None, None]
    before.bias[:4] = (before.bias[:4] - mean) * gain
    before.bias[4:] += 2 * gain.log()
