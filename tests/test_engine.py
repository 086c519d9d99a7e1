import gc
import weakref
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import (
    Engine,
    GeneratedImage,
    Geometry,
    ImageRequest,
    Model,
    Progress,
    load_model,
)
from batch_sdxl.core.errors import InvalidPrompts, InvalidRequest
from batch_sdxl.core.numerics import fingerprint
from PIL import Image

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]


def test_results_carry_index_request_and_pixels(engine: Engine) -> None:
    request = ImageRequest(prompt="x", seed=1, num_inference_steps=1, width=80)
    (image,) = engine.generate([request])
    assert image.index == 0
    assert (image.request.seed, image.request.width, image.request.height) == (1, 80, 64)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape == (64, 80, 3)
    assert np.abs(image.pixels / 255 - image.decoded.numpy()).max() <= 0.5001 / 255


def test_images_stream_out_as_they_finish(engine: Engine) -> None:
    steps = [6, 2, 4]
    requests = [
        ImageRequest(prompt="x", seed=n, num_inference_steps=n, guidance_scale=1.0) for n in steps
    ]
    seen: list[int] = []
    finished_after = {
        image.index: len(seen)
        for image in engine.generate(requests, on_step=lambda p: seen.append(p.steps))
    }
    assert list(finished_after) == [1, 2, 0]
    assert finished_after[1] < finished_after[0]


def test_more_images_than_rows_all_come_out(render: Render) -> None:
    requests = [ImageRequest(prompt="x", seed=n, num_inference_steps=1) for n in range(11)]
    assert [image.request.seed for image in render(requests)] == list(range(11))


@pytest.mark.parametrize("model", ["demo", Path("model.safetensors"), None])
def test_what_is_no_model_is_told_how_to_become_one(model: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"a Model, got .*load_model\(") as caught:
        Engine(model)
    if model is not None:
        assert caught.value.action == f"Write Engine(load_model({model!r}))."


def test_progress_ends_at_its_totals(engine: Engine) -> None:
    requests = [
        ImageRequest(prompt="x", seed=1, num_inference_steps=3, scheduler="heun"),
        ImageRequest(prompt="x", seed=1, num_inference_steps=2, width=80),
    ]
    reports: list[Progress] = []
    list(engine.generate(requests, on_step=reports.append))
    assert reports[-1] == Progress(steps=7, total_steps=7, images=2, total_images=2)
    assert [r.steps for r in reports] == sorted(r.steps for r in reports)


def test_what_a_callback_raises_stops_the_run_and_keeps_what_is_done(
    engine: Engine, render: Render
) -> None:
    class Cancelled(BaseException):
        pass

    def cancel(progress: Progress) -> None:
        if progress.steps > 3:
            raise Cancelled

    requests = [ImageRequest(prompt="x", seed=1, num_inference_steps=n) for n in (1, 9)]
    done: list[int] = []
    with pytest.raises(Cancelled):
        done.extend(image.index for image in engine.generate(requests, on_step=cancel))
    assert done == [0]
    assert len(render(requests)) == 2


def stopping_after(calls: int) -> Callable[[Progress], Any]:
    """Raises StopIteration: an iterator that is at its end is as good as any exception."""
    left = iter(range(calls))
    return lambda progress: next(left)


def test_a_run_can_be_stopped_before_every_call_and_every_image(engine: Engine) -> None:
    requests = [
        ImageRequest(prompt=f"{n}", seed=n, num_inference_steps=2, guidance_scale=1.0)
        for n in range(3)
    ]
    reports: list[Progress] = []
    list(engine.generate(requests, on_step=reports.append))
    seen = [(report.steps, report.images) for report in reports]
    assert seen == [(0, 0), (0, 0), (0, 0), (3, 0), (6, 1), (6, 2), (6, 3)]
    assert [len(report.running) for report in reports] == [0, 0, 0, 3, 2, 1, 0]
    for stop in range(len(reports)):
        images = engine.generate(requests, on_step=stopping_after(stop))
        done: list[int] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            done.extend(image.index for image in images)
        assert len(done) == reports[stop].images


def test_what_the_model_cannot_do_is_refused_before_the_first_step(engine: Engine) -> None:
    steps: list[Progress] = []
    fine = ImageRequest(prompt="x", seed=1, num_inference_steps=1)
    for wrong, error in (
        (replace(fine, prompt="embedding:nobody"), InvalidPrompts),
        (replace(fine, negative_prompt="(embedding:nobody:1.2)"), InvalidPrompts),
        (replace(fine, clip_skip=3), InvalidRequest),
    ):
        with pytest.raises(error):
            engine.generate([fine, wrong], on_step=steps.append)
    assert not steps


def test_no_requests_give_no_images(engine: Engine) -> None:
    assert list(engine.generate([])) == []


def test_width_and_height_default_to_the_model(tiny: Model) -> None:
    assert tiny.native_size == 64


def test_the_vae_takes_large_images_in_tiles_where_asked_to(tiny: Model) -> None:
    noise = Image.effect_noise((256, 192), 70).convert("RGB")
    request = ImageRequest(
        prompt="x",
        seed=1,
        num_inference_steps=2,
        image=noise,
    )
    small = ImageRequest(prompt="x", seed=1, num_inference_steps=1, width=128, height=128)
    tiles: list[int] = []
    hook = tiny.vae.decoder.register_forward_pre_hook(
        lambda _, inputs: tiles.append(max(inputs[0].shape[-2:]))
    )
    try:
        whole = list(Engine(tiny).generate([request, small]))
        assert tiles == [32, 16]
        tiles.clear()
        tiled = list(Engine(tiny, vae_tile=128).generate([request, small]))
    finally:
        hook.remove()
    assert len(tiles) > 2
    assert max(tiles) == 16
    both = [images[0].decoded.numpy().ravel() for images in (whole, tiled)]
    assert 0.8 < np.corrcoef(both)[0, 1] < 1
    np.testing.assert_array_equal(whole[1].decoded, tiled[1].decoded)
    assert not tiny.vae.use_tiling
    (alone,) = Engine(tiny, vae_tile=128).generate([request])
    np.testing.assert_array_equal(alone.decoded, tiled[0].decoded)


def test_tiles_are_part_of_the_numerics(tiny: Model) -> None:
    usual, tiled = Engine(tiny).geometry_of(64, 64), Engine(tiny, vae_tile=512).geometry_of(64, 64)
    plain, with_tiles = (
        fingerprint(tiny.device, tiny.dtype, tiny.vae.dtype, geometry, "sdpa")
        for geometry in (usual, tiled)
    )
    assert with_tiles == plain | {"vae_tile": 512}
    assert "vae_tile" not in plain
    with pytest.raises(InvalidRequest, match="multiple of 64"):
        Geometry(8, vae_tile=100)


def test_an_offloaded_model_makes_the_same_images_and_is_left_as_it_was(
    tiny_folder: Path, render: Render
) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp32", offload=True)
    requests = [
        ImageRequest(prompt=prompt, seed=1, num_inference_steps=n)
        for n, prompt in ((1, "a"), (3, "b"))
    ]
    stopped = Engine(model).generate(requests)
    next(stopped)
    assert isinstance(stopped, Generator)
    stopped.close()
    assert not hasattr(model.unet, "_hf_hook")
    images = list(Engine(model).generate(requests))
    for image, expected in zip(images, render(requests), strict=True):
        np.testing.assert_array_equal(image.decoded, expected.decoded)
    assert not any(hasattr(part, "_hf_hook") for part in (model.vae, *model.text_encoders))


def test_a_run_that_ends_leaves_what_another_has_offloaded(tiny_folder: Path) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp32", offload=True)
    parts = (*model.text_encoders, model.unet, model.vae)
    requests = [ImageRequest(prompt="a", seed=seed, num_inference_steps=1) for seed in range(9)]
    first, second = (Engine(own).generate(requests) for own in (model, replace(model)))
    one, other = [next(first)], [next(second)]
    hooks = [part._hf_hook for part in parts]
    one += first
    assert [part._hf_hook for part in parts] == hooks
    other += second
    assert not any(hasattr(part, "_hf_hook") for part in parts)
    for image, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(image.decoded, again.decoded)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_offloaded_model_takes_less_memory_of_the_device(tiny_folder: Path) -> None:
    requests = [ImageRequest(prompt=f"{n}", seed=n, num_inference_steps=2) for n in range(4)]
    peaks, images = [], []
    for offload in (False, True):
        model = load_model(tiny_folder, device="cuda", offload=offload)
        torch.cuda.reset_peak_memory_stats()
        images.append([image.pixels for image in Engine(model).generate(requests)])
        peaks.append(torch.cuda.max_memory_allocated())
    np.testing.assert_array_equal(images[0], images[1])
    assert peaks[1] < peaks[0]


def test_a_model_is_let_go_of_at_once(tiny: Model) -> None:
    """Without a garbage collection, which could come while somebody else counts on it."""
    model = replace(tiny)
    alive = weakref.ref(model)
    gc.disable()
    try:
        engine = Engine(model)
        list(engine.generate([ImageRequest(prompt="(x:1.2)", seed=1, num_inference_steps=1)]))
        del model, engine
        assert alive() is None
    finally:
        gc.enable()
