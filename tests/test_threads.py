"""Threads that compute with one model at the same time get the bits that each gets alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, load_model
from batch_sdxl.core.models.inversion import with_inversions
from batch_sdxl.core.models.vae import decode
from safetensors.torch import save_file

Work = Callable[[], list[torch.Tensor]]


def assert_bits_are_those_of_each_alone(*works: Work) -> None:
    alone = [work() for work in works]
    start = Barrier(len(works))

    def in_company(work: Work) -> list[torch.Tensor]:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        together = list(pool.map(in_company, works))
    for mine, expected in zip(together, alone, strict=True):
        assert [*map(torch.equal, mine, expected)] == [True] * len(expected)


def images(
    model: Model, seeds: range, *, size: int = 64, prompt: str = "a", tile: int | None = None
) -> Work:
    """An engine's work on requests of these seeds."""
    requests = [
        ImageRequest(prompt=prompt, seed=seed, num_inference_steps=1, width=size, height=size)
        for seed in seeds
    ]

    def work() -> list[torch.Tensor]:
        made = sorted(Engine(model, vae_tile=tile).generate(requests), key=lambda i: i.index)
        return [image.decoded for image in made]

    return work


@pytest.mark.parametrize("times", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_two_engines_on_one_model(tiny: Model, times: int) -> None:
    for _ in range(times):
        assert_bits_are_those_of_each_alone(
            images(tiny, range(5)), images(tiny, range(5, 8)), images(tiny, range(3), size=96)
        )


@pytest.mark.parametrize("times", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_tiles_beside_none(tiny: Model, times: int) -> None:
    for _ in range(times):
        assert_bits_are_those_of_each_alone(
            images(tiny, range(4), size=192), images(tiny, range(4), size=192, tile=128)
        )


def test_a_learned_word_beside_none(tiny: Model, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(3, 32, generator=draw) for name in ("clip_l", "clip_g")}
    save_file(vectors, tmp_path / "red.safetensors")
    learned = with_inversions(tiny, {"red": tmp_path / "red.safetensors"})
    assert_bits_are_those_of_each_alone(
        *(images(learned, range(3), prompt=f"embedding:red {n}") for n in range(2)),
        *(images(tiny, range(3), prompt=f"red {n}") for n in range(2)),
    )


def test_an_image_that_overflows_beside_one_that_does_not(tiny_folder: Path) -> None:
    half = load_model(tiny_folder, device="cpu", dtype="fp16")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def decoding(factor: float) -> Work:
        return lambda: [decode(half, latents * factor) for _ in range(5)]

    assert_bits_are_those_of_each_alone(decoding(1.0), decoding(1e5))
