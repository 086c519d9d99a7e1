from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, load_model
from batch_sdxl.core.errors import UnsupportedModel

REQUEST = ImageRequest(prompt="a", seed=1, num_inference_steps=1)


def made(model: Model) -> tuple[str, bytes]:
    """Identity and bits of an image."""
    (image,) = Engine(model).generate([REQUEST])
    return image.record.identity, image.decoded.numpy().tobytes()


@pytest.fixture
def fresh(tiny_folder: Path) -> Model:
    """A model whose parts a test may change."""
    return load_model(tiny_folder, device="cpu", dtype="fp32")


def test_what_a_program_turned_on_in_a_part_is_refused_by_name(fresh: Model) -> None:
    unet, encoder = fresh.unet, fresh.text_encoders[1]
    block = next(module for module in unet.modules() if hasattr(module, "_chunk_size"))
    switches: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "FreeU": (lambda: unet.enable_freeu(0.9, 0.2, 1.3, 1.4), unet.disable_freeu),
        "in chunks": (
            lambda: block.set_chunk_feed_forward(8, 1),
            lambda: block.set_chunk_feed_forward(None),
        ),
        "PEFT": (
            lambda: setattr(encoder, "peft_config", {"default": 1}),
            lambda: setattr(encoder, "peft_config", None),
        ),
    }
    expected = made(fresh)
    for name, (turn_on, turn_off) in switches.items():
        turn_on()
        with pytest.raises(UnsupportedModel, match=f"as it was loaded, got one with .*{name}"):
            made(fresh)
        turn_off()
        assert made(fresh) == expected
    fresh.vae.enable_layerwise_casting(torch.bfloat16, torch.float32)  # which has no way back
    with pytest.raises(UnsupportedModel, match=r"a VAE as it was loaded, .*layerwise_casting"):
        made(fresh)


def test_tiles_that_a_program_turned_on_are_not_ours(fresh: Model) -> None:
    request = replace(REQUEST, width=192, height=192)
    (expected,) = Engine(fresh).generate([request])
    fresh.vae.enable_tiling()
    fresh.vae.tile_latent_min_size = 8
    (image,) = Engine(fresh).generate([request])
    assert image.record == expected.record
    np.testing.assert_array_equal(image.decoded, expected.decoded)
    assert fresh.vae.use_tiling


def test_fused_projections_are_another_attention(fresh: Model) -> None:
    (expected,) = Engine(fresh).generate([REQUEST])
    for part in (fresh.unet, fresh.vae):
        part.fuse_qkv_projections()
        (image,) = Engine(fresh).generate([REQUEST])
        assert "FusedAttn" in image.record.numerics["attention"]
        assert image.record.identity != expected.record.identity
        part.unfuse_qkv_projections()
    assert Engine(fresh).describe(expected.request) == expected.record
