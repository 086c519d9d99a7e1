"""A second training of the VAE's decoder alone, on whole pictures and cached latents.

The encoder stays as it is, so what the UNet has learned stays true.
"""

from pathlib import Path
from random import Random

import numpy as np
import torch
from demo_training import TimedRun
from demo_unet import SHARD, SHARD_SIZES, scene_of
from demo_vae import SCALING_FACTOR, build_vae, edge_error, to_tensor
from scenes import draw
from torch import nn

BATCH = 4
LATENT_NOISE = 0.08  # the UNet's latents are not exact either


def train_decoder(work: Path, *, seconds: float) -> None:
    """Trains the decoder for so long and writes it into `vae.pt`."""
    torch.manual_seed(3)
    random = Random(3)
    vae = build_vae()
    vae.load_state_dict(torch.load(work / "vae.pt", weights_only=True))
    part = nn.ModuleList([vae.post_quant_conv, vae.decoder])
    run = TimedRun(
        part,
        work / "decoder-run.pt",
        seconds=seconds,
        learning_rate=8e-4,
        weight_decay=0.0,
        average_decay=0.995,
    )
    native = [k for k, size in enumerate(SHARD_SIZES) if size == (128, 128)]
    shards = {k: torch.load(work / f"latents-{k:03}.pt").float() for k in native}
    for step in run.steps():
        chosen = [(random.choice(native), random.randrange(SHARD)) for _ in range(BATCH)]
        pictures = to_tensor(np.stack([draw(scene_of(k, row, 1.0)) for k, row in chosen]))
        latents = torch.stack([shards[k][row] for k, row in chosen])
        noise = LATENT_NOISE * random.random() * torch.randn_like(latents)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = vae.decode((latents + noise) / SCALING_FACTOR).sample.float()
        error = decoded - pictures
        run.backward(error.abs().mean() + edge_error(error))
        if step % 100 == 0:
            psnr = -10 * torch.log10(error.detach().square().mean() / 4).item()
            print(f"decoder {step} {run.spent:.0f}s psnr {psnr:.1f}", flush=True)
    part.load_state_dict(run.average)
    torch.save(vae.state_dict(), work / "vae.pt")
