"""The model's text encoders and UNet: SDXL's classes and wiring, 4.5 million weights."""

from pathlib import Path
from random import Random
from typing import Any

import torch
from captions import caption
from demo_tokenizer import LENGTH, token_ids, write_tokenizers
from demo_training import TimedRun, start_as_identity
from demo_vae import SCALING_FACTOR, build_vae, to_tensor
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from scenes import Scene, draw, random_scene
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

WIDTHS = (64, 96)  # of the two text encoders
TIME_WIDTH = 32
BATCH = 32
SHARD = 2000
# The native size, and enough of others that they do not fall apart; with how often each is used.
SHARD_SIZES = [*[(128, 128)] * 8, (192, 128), (128, 192)]
SHARD_WEIGHTS = [*[1.0] * 8, 0.5, 0.5]
DROPPED = 0.1
PAIRS_KEPT = 0.4


def build_text_encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Untrained text encoders; like SDXL's, they differ in width and activation."""
    ids = token_ids()
    shared: dict[str, Any] = {
        "vocab_size": len(ids),
        "max_position_embeddings": LENGTH,
        "bos_token_id": len(ids) - 2,
        "eos_token_id": len(ids) - 1,
    }
    first = CLIPTextConfig(
        hidden_size=WIDTHS[0],
        num_hidden_layers=2,  # the last one goes unused, as in SDXL
        intermediate_size=4 * WIDTHS[0],
        num_attention_heads=2,
        hidden_act="quick_gelu",
        projection_dim=WIDTHS[0],
        pad_token_id=len(ids) - 1,
        **shared,
    )
    second = CLIPTextConfig(
        hidden_size=WIDTHS[1],
        num_hidden_layers=3,
        intermediate_size=4 * WIDTHS[1],
        num_attention_heads=3,
        hidden_act="gelu",
        projection_dim=WIDTHS[1],
        pad_token_id=0,
        **shared,
    )
    return CLIPTextModel(first), CLIPTextModelWithProjection(second)


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet: one block without attention, then two with it, as in SDXL."""
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 96),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(1, 3, 3),  # heads, not their width: diffusers keeps an old name
        cross_attention_dim=sum(WIDTHS),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=6 * TIME_WIDTH + WIDTHS[1],
        norm_num_groups=16,
    )
    start_as_identity(unet)
    return unet


def build_scheduler() -> EulerDiscreteScheduler:
    """SDXL base's scheduler."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        interpolation_type="linear",
        timestep_spacing="leading",
        steps_offset=1,
        use_karras_sigmas=False,
    )


@torch.no_grad()
def cache_latents(work: Path, *, shards: int) -> None:
    """Draws scenes and writes their scaled latents, a file per shard, skipping what is there."""
    vae = build_vae()
    vae.load_state_dict(torch.load(work / "vae.pt", weights_only=True))
    vae.eval()
    for shard in range(shards):
        path = work / f"latents-{shard:03}.pt"
        if path.exists():
            continue
        width, height = SHARD_SIZES[shard % len(SHARD_SIZES)]
        parts = []
        for start in range(0, SHARD, 40):
            scenes = [scene_of(shard, i, width / height) for i in range(start, start + 40)]
            pixels = [to_tensor(draw(scene, width=width, height=height)) for scene in scenes]
            with torch.autocast("cpu", torch.bfloat16):
                mean = vae.encode(torch.stack(pixels)).latent_dist.mean
            parts.append(mean.float() * SCALING_FACTOR)
        torch.save(torch.cat(parts).half(), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
        print(f"latents {shard + 1} of {shards}", flush=True)


def scene_of(shard: int, index: int, aspect: float) -> Scene:
    """The scene behind one row of one shard."""
    return random_scene(Random(shard * SHARD + index), aspect=aspect)


class Conditioning(nn.Module):
    """Both text encoders, used as StableDiffusionXLPipeline uses them."""

    def __init__(self, model: Path) -> None:
        """Builds untrained encoders; the tokenizers are read from the model folder."""
        super().__init__()
        self.first, self.second = build_text_encoders()
        folders = ("tokenizer", "tokenizer_2")
        self.tokenizers = [CLIPTokenizer.from_pretrained(model / folder) for folder in folders]

    def forward(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 77, sum of widths) and (B, width of the second)."""
        first, second = (
            tokenizer(
                captions,
                padding="max_length",
                max_length=LENGTH,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            for tokenizer in self.tokenizers
        )
        one = self.first(first, output_hidden_states=True)
        two = self.second(second, output_hidden_states=True)
        return torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1), two.text_embeds


def train_unet(work: Path, model: Path, *, seconds: float) -> None:
    """Trains UNet and text encoders on the cached latents; the weights stay in `unet-run.pt`."""
    torch.manual_seed(2)
    random = Random(2)
    write_tokenizers(model)
    text, unet = Conditioning(model), build_unet()
    # On a CPU the fused attention is slow to train: half a step's time went into it.
    unet.set_attn_processor(AttnProcessor())
    for encoder in (text.first, text.second):
        encoder.set_attn_implementation("eager")
    run = TimedRun(
        nn.ModuleDict({"text": text, "unet": unet}),
        work / "unet-run.pt",
        seconds=seconds,
        learning_rate=1e-3,
        average_decay=0.999,
    )
    alphas = build_scheduler().alphas_cumprod
    shards: list[torch.Tensor] = []
    losses = []
    for step in run.steps():
        if not shards or step % 200 == 0:  # the latents may still be growing
            paths = sorted(work.glob("latents-*.pt"))
            shards += [torch.load(path).float() for path in paths[len(shards) :]]
            weights = [SHARD_WEIGHTS[k % len(SHARD_WEIGHTS)] for k in range(len(shards))]
        shard = random.choices(range(len(shards)), weights)[0]
        height, width = 8 * shards[shard].shape[2], 8 * shards[shard].shape[3]
        chosen = [_choose(shard, width / height, random) for _ in range(BATCH)]
        latents = shards[shard][[row for row, _ in chosen]]
        scenes = [scene for _, scene in chosen]
        captions = ["" if random.random() < DROPPED else caption(s, random) for s in scenes]
        # Guidance starts from "" or, as SDXL does without a negative prompt, from zeros.
        keep = torch.tensor([float(c != "" or random.random() < 0.5) for c in captions])
        times = torch.randint(1000, (BATCH,))
        with torch.autocast("cpu", torch.bfloat16):
            embeds, pooled = text(captions)
            added = {
                "text_embeds": pooled * keep[:, None],
                "time_ids": torch.tensor([[height, width, 0, 0, height, width]] * BATCH),
            }
            alpha = alphas[times][:, None, None, None]
            noise = torch.randn_like(latents)
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
            predicted = unet(
                noisy, times, embeds * keep[:, None, None], added_cond_kwargs=added
            ).sample
        loss = _loss(predicted.float() - noise, alpha)
        run.backward(loss)
        losses.append(loss.item())
        if step % 100 == 99:
            mean = sum(losses[-100:]) / 100
            print(f"unet {step + 1} {run.spent:.0f}s loss {mean:.4f}", flush=True)


def _choose(shard: int, aspect: float, random: Random) -> tuple[int, Scene]:
    """A row of the shard and its scene; pairs, the harder and lesser task, come more rarely."""
    while True:
        row = random.randrange(SHARD)
        scene = scene_of(shard, row, aspect)
        if len(scene.things) == 1 or random.random() < PAIRS_KEPT:
            return row, scene


def _loss(error: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the noise, weighted by its ratio to the signal.

    With little noise the weight falls as in min-SNR-5 (arXiv:2303.09556, eq. 3). With much noise
    it grows with the square root of that ratio: there the picture is laid out, and errors of the
    noise are small numbers that stand for large ones of the picture.
    """
    ratio = alpha / (1 - alpha)
    weight = ratio.clamp(max=5) / ratio * ratio.rsqrt().clamp(min=1)
    return (weight * error.square()).mean()
