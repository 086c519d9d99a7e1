"""An image is a function of its request, the model and the numerics, and of nothing else."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, Geometry, ImageRequest, Model
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]


def a_mixture() -> list[ImageRequest]:
    """Requests that differ in everything a request has, sizes included."""
    noise: Any = Image.effect_noise((64, 64), 80).convert("RGB")
    return [
        ImageRequest(prompt="a red circle", seed=1, num_inference_steps=3),
        ImageRequest(prompt="a red circle", seed=2, num_inference_steps=5, guidance_scale=1.0),
        ImageRequest(prompt="blue", negative_prompt="dim", seed=2**64 - 1, num_inference_steps=2),
        ImageRequest(prompt="", seed=0, num_inference_steps=4, scheduler="euler_ancestral"),
        ImageRequest(prompt="a", seed=3, num_inference_steps=3, scheduler="dpmpp_2m_sde:karras"),
        ImageRequest(prompt="b", seed=3, num_inference_steps=2, scheduler="heun", width=80),
        ImageRequest(prompt="b", seed=3, num_inference_steps=1, width=80, height=96),
        ImageRequest(prompt="c", seed=7, num_inference_steps=6, strength=0.5, image=noise),
        ImageRequest(prompt="c", seed=7, num_inference_steps=6, strength=1.0, image=noise),
        ImageRequest(prompt="a red circle", seed=1, num_inference_steps=3),
    ]


def digests(render: Render, requests: list[ImageRequest]) -> list[bytes]:
    return [image.decoded.numpy().tobytes() for image in render(requests)]


def test_alone_as_in_a_mixture_in_any_order(render: Render) -> None:
    requests = a_mixture()
    together = digests(render, requests)
    assert len(set(together)) == len(requests) - 1  # the last repeats the first
    assert together[0] == together[-1]
    assert [digests(render, [request])[0] for request in requests] == together
    order = list(range(len(requests)))
    random.Random(1).shuffle(order)
    assert digests(render, [requests[k] for k in order]) == [together[k] for k in order]


def test_neighbours_do_not_matter(render: Render) -> None:
    mine = ImageRequest(prompt="mine", seed=5, num_inference_steps=4)
    alone = digests(render, [mine])
    for seed in range(3):
        others = [
            ImageRequest(prompt=f"other {seed}", seed=n, num_inference_steps=2 + n)
            for n in range(seed + 1)
        ]
        assert digests(render, [*others, mine])[-1:] == alone


def test_nothing_uses_or_moves_the_global_generator(render: Render) -> None:
    requests = a_mixture()
    torch.manual_seed(1)
    first = digests(render, requests)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert digests(render, requests) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_new_engine_gives_the_same_bits(render: Render, tiny: Model) -> None:
    (request, *_) = a_mixture()
    (image,) = Engine(tiny).generate([request])
    assert [image.decoded.numpy().tobytes()] == digests(render, [request])


def test_input_images_are_not_written_to(render: Render) -> None:
    pixels = np.full((64, 64, 3), 77, np.uint8)
    render([ImageRequest(prompt="x", seed=1, num_inference_steps=2, image=pixels)])
    assert (pixels == 77).all()


@pytest.mark.parametrize("rows", [0, 1, 3, -2])
def test_a_geometry_has_an_even_number_of_rows(rows: int) -> None:
    with pytest.raises(ValueError, match="a multiple of 2"):
        Geometry(rows=rows)
