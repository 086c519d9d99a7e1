"""Too little memory is told as it is, and nothing is tried again in another way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model
from batch_sdxl.core.engine.memory import UNET_NUMBERS, VAE_NUMBERS
from batch_sdxl.core.errors import BatchSDXLError, OutOfMemory
from batch_sdxl.core.models.footprint import footprint
from batch_sdxl.core.out_of_memory import telling

REQUESTS = [ImageRequest(prompt="a", seed=seed, num_inference_steps=1 + seed) for seed in range(4)]


def out_of_memory() -> None:
    raise torch.cuda.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 8.00 GiB."
    )


@contextmanager
def failing(module: torch.nn.Module, *, after: int, fail: Callable[[], Any]) -> Iterator[list[int]]:
    """The rows of a module's calls, of which all but the first few fail."""
    calls: list[int] = []

    def hook(module: Any, inputs: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        calls.append(len(named["sample"] if "sample" in named else inputs[0]))
        if len(calls) > after:
            fail()

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@pytest.mark.parametrize("fail", [out_of_memory, lambda: torch.empty(10**15)])
def test_a_run_tells_what_was_tried_and_keeps_what_is_done(
    tiny: Model, fail: Callable[[], Any]
) -> None:
    list(Engine(tiny, geometry=Geometry(8)).generate(REQUESTS))  # sizes of calls are tried out
    done: list[int] = []
    images = Engine(tiny, geometry=Geometry(8)).generate(REQUESTS)
    with failing(tiny.unet, after=1, fail=fail) as calls, pytest.raises(OutOfMemory) as caught:
        done.extend(image.index for image in images)
    assert done == [0]
    assert len(calls) == 2
    assert isinstance(caught.value, BatchSDXLError)
    assert isinstance(caught.value, MemoryError)
    assert caught.value.__cause__ is not None
    said = str(caught.value)
    assert "enough memory on cpu for images of 64 x 64, 8 rows per UNet call, in float32" in said
    assert "set `rows_per_call` to 2; make smaller images" in said
    assert "memory" in caught.value.got
    assert "total capacity" not in caught.value.got


def test_only_what_helps_is_proposed(tiny: Model) -> None:
    engine = Engine(tiny, geometry=Geometry(2))
    with failing(tiny.vae.decoder, after=0, fail=out_of_memory), pytest.raises(OutOfMemory) as told:
        list(engine.generate(REQUESTS[:1]))
    assert all(word not in str(told.value) for word in ("rows_per_call", "vae_tile", "offload"))


def test_other_errors_are_let_through() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), telling("", ""):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_what_a_run_needs_follows_size_rows_and_tiles(tiny: Model) -> None:
    def needs(*requests: ImageRequest, rows: int = 2, tile: int | None = None) -> int:
        return Engine(tiny, geometry=Geometry(rows, tile)).working_memory(requests)

    small, large = (
        ImageRequest(prompt="a", seed=1, width=size, height=size) for size in (512, 1024)
    )
    assert needs() == 0
    assert needs(large) == needs(small, large) == 4 * needs(small)
    assert needs(large, rows=32) > needs(large)
    assert needs(large, tile=512) == needs(small)


def test_the_numbers_are_those_of_sdxl() -> None:
    counted = footprint(None, torch.float16)
    assert counted.unet_call / 2 == pytest.approx(UNET_NUMBERS, rel=0.1)
    assert counted.vae_call / 4 == pytest.approx(VAE_NUMBERS, rel=0.1)
