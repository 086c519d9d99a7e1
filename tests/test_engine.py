from collections.abc import Callable

import numpy as np
import pytest
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model, Progress
from batch_sdxl.core.errors import InvalidPrompts

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
    done = []
    with pytest.raises(Cancelled):
        for image in engine.generate(requests, on_step=cancel):
            done.append(image.index)
    assert done == [0]
    assert len(render(requests)) == 2


def test_a_prompt_that_is_too_long_is_refused_before_the_first_step(engine: Engine) -> None:
    steps: list[Progress] = []
    requests = [
        ImageRequest(prompt="x", seed=1, num_inference_steps=1),
        ImageRequest(prompt="word " * 400, seed=1, num_inference_steps=1),
    ]
    with pytest.raises(InvalidPrompts, match="at most 75 tokens"):
        engine.generate(requests, on_step=steps.append)
    assert not steps


def test_no_requests_give_no_images(engine: Engine) -> None:
    assert list(engine.generate([])) == []


def test_width_and_height_default_to_the_model(tiny: Model) -> None:
    assert tiny.native_size == 64
