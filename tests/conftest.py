"""A tiny SDXL with random weights: every part of the real one, small enough to run in a blink."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Several processes share the cores: threads of torch that wait are to leave them to others. It is
# read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model, load_model
from batch_sdxl.core.models.spec import DEMO_FOLDER
from batch_sdxl.core.store.chosen import FOLDER, GIGABYTES


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests have a cache folder of their own, and leave the user's alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        for name in (FOLDER, GIGABYTES):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of native size 64 with seeded random weights."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

    tokenizers = [
        CLIPTokenizer.from_pretrained(DEMO_FOLDER / name) for name in ("tokenizer", "tokenizer_2")
    ]
    text = CLIPTextConfig(
        vocab_size=len(tokenizers[0]),
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=32,
        bos_token_id=tokenizers[0].bos_token_id,
        eos_token_id=tokenizers[0].eos_token_id,
    )
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
            cross_attention_dim=64,
        ),
        vae=AutoencoderKL(
            block_out_channels=(32, 32, 32, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=64,
            scaling_factor=0.13025,
            force_upcast=False,
        ),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
    )
    folder = tmp_path_factory.mktemp("tiny") / "tiny-sdxl"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    return load_model(tiny_folder, device="cpu", dtype="fp32")


@pytest.fixture(scope="session")
def components(tiny_folder: Path) -> dict[str, Any]:
    """The same model as the parts of diffusers' own pipelines."""
    from diffusers import StableDiffusionXLPipeline

    parts: dict[str, Any] = StableDiffusionXLPipeline.from_pretrained(tiny_folder).components
    return parts


@pytest.fixture
def engine(tiny: Model) -> Engine:
    return Engine(tiny)


@pytest.fixture
def render(engine: Engine) -> Callable[[list[ImageRequest]], list[GeneratedImage]]:
    """Makes all images, in the order of their requests."""
    return lambda requests: sorted(engine.generate(requests), key=lambda image: image.index)


@pytest.fixture(scope="session")
def rounding() -> float:
    """How far two ways of computing one image may be apart, of a range of 1.

    Two thousand times what fp32 tells apart there, for the sums of all steps, which each processor
    adds up in an order of its own; a step of 8 bits is 16 times as much.
    """
    return 2000 * torch.finfo(torch.float32).eps
