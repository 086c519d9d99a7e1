"""Looking at a batch while it is made: what is seen, what it takes, and that it changes nothing."""

import functools
from random import Random
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, Progress, load_model
from batch_sdxl.core.engine.lane import Lane
from batch_sdxl.core.engine.preview.batch_preview import BACKGROUND, BatchPreview
from batch_sdxl.core.engine.preview.latent_colours import LatentColours
from batch_sdxl.core.engine.preview.layout import SHEET, TILE, Layout
from batch_sdxl.core.engine.preview.pace import FIRST
from batch_sdxl.core.models.vae import decode
from batch_sdxl.core.samplers.table import SAMPLERS
from batch_sdxl.core.transfer import Mark
from PIL import Image

#: Those that end at a noise level above zero, or take former steps into the last one.
ENDING_IN_NOISE = ("lms", "deis", "uni_pc", "ddim", "dpm_fast")


class Clock:
    """Time goes on when it is told to, and a little with every look."""

    def __init__(self, a_look: float = 0.0) -> None:
        self.now = 0.0
        self._a_look = a_look

    def __call__(self) -> float:
        self.now += self._a_look
        return self.now


def request(**changes: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": "x", "seed": 1, "num_inference_steps": 4, **changes})


def lanes_of(model: Model, requests: list[ImageRequest]) -> dict[int, Lane]:
    """The lanes of a whole run, as they are at its end."""
    lanes: dict[int, Lane] = {}

    def remember(progress: Progress) -> None:
        lanes.update({lane.index: lane for lane in progress.running})

    list(Engine(model).generate(requests, on_step=remember))
    return lanes


@pytest.fixture(scope="module")
def lane(tiny: Model) -> Lane:
    return lanes_of(tiny, [request(num_inference_steps=2)])[0]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_last_estimate_is_the_image(tiny_folder: Any, prediction_type: str) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp32", prediction_type=prediction_type)
    names = [*SAMPLERS, *(f"{name}:karras" for name in SAMPLERS)]
    lanes = lanes_of(model, [request(scheduler=name, guidance_scale=1.0) for name in names])
    for index, name in enumerate(names):
        estimate, latents = lanes[index].estimate(), lanes[index].latents
        off = float((estimate - latents).norm() / latents.norm())
        assert off < (0.3 if name.split(":")[0] in ENDING_IN_NOISE else 1e-3), name


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["dpmpp_2m", "ddim", "dpm_2_ancestral"])
def test_every_estimate_is_what_the_scheduler_takes_for_the_image(
    tiny_folder: Any, name: str, prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_folder, device="cpu", dtype="fp32", prediction_type=prediction_type)
    class_name, _ = SAMPLERS[name].scheduler or ("", {})
    scheduler_class = getattr(diffusers, class_name)
    taken: list[torch.Tensor] = []

    @functools.wraps(scheduler_class.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = plain(self, *args, **kwargs)
        taken.append(self.model_outputs[-1] if hasattr(self, "model_outputs") else result[1])
        return result

    plain = scheduler_class.step
    monkeypatch.setattr(scheduler_class, "step", step)
    estimates: list[torch.Tensor] = []

    def look(progress: Progress) -> None:
        estimates.extend(lane.estimate() for lane in progress.running)

    longer = [request(scheduler=name, num_inference_steps=6, seed=n) for n in (1, 2)]
    list(Engine(model).generate(longer, on_step=look))
    assert len(estimates) > 10
    for estimate, expected in zip(estimates[:10], taken, strict=False):
        torch.testing.assert_close(estimate, expected, rtol=1e-3, atol=1e-3)


def test_looking_changes_no_bit_and_draws_from_no_global_generator(tiny: Model) -> None:
    requests = [request(seed=n, num_inference_steps=3 + n % 2) for n in range(6)]
    unseen = list(Engine(tiny).generate(requests))
    clock = Clock()
    preview = BatchPreview(tiny, [(64, 64)] * 6, clock)
    sheets = []

    def look(progress: Progress) -> None:
        clock.now += 1
        sheets.append(preview.draw({lane.index: lane for lane in progress.running}))

    state = torch.get_rng_state()
    seen = []
    for image in Engine(tiny).generate(requests, on_step=look):
        seen.append(image)
        preview.finish(image.index, image.pixels)
    assert sum(sheet is not None for sheet in sheets) > 3
    assert torch.equal(torch.get_rng_state(), state)
    for image, other in zip(seen, unseen, strict=True):
        np.testing.assert_array_equal(image.decoded, other.decoded)


@pytest.mark.parametrize(
    ("count", "width", "height", "layout"),
    [
        (1, 1024, 1024, (1, 1, 1024, 1024)),
        (4, 1024, 1024, (2, 2, 512, 512)),
        (8, 128, 128, (3, 3, 128, 128)),
        (24, 128, 128, (5, 5, 128, 128)),
        (6, 832, 1216, (3, 2, 341, 498)),
        (2, 2048, 512, (1, 2, 1024, 256)),
        (5000, 1024, 1024, (32, 32, 32, 32)),
    ],
)
def test_tiles_fill_a_sheet_of_bounded_size(
    count: int, width: int, height: int, layout: tuple[int, ...]
) -> None:
    assert Layout.of(count, width, height) == layout


def test_the_sheet_is_within_bounds_whatever_the_batch() -> None:
    for count in (1, 2, 3, 7, 50, 1024, 1025, 5000):
        for width, height in ((64, 64), (1024, 1024), (640, 1536), (2048, 256)):
            columns, lines, *tile = Layout.of(count, width, height)
            assert max(columns * tile[0], lines * tile[1]) <= SHEET
            assert max(tile) >= TILE
            assert columns * lines >= min(count, 1000)


def test_each_image_has_its_tile_in_its_own_shape(tiny: Model, lane: Lane) -> None:
    preview = BatchPreview(tiny, [(100, 100)] * 3 + [(100, 50)], Clock(10.0))
    preview.finish(0, np.full((100, 100, 3), 200, np.uint8))
    preview.finish(3, np.full((50, 100, 3), 0.5, np.float32))
    sheet = preview.draw({2: lane})
    assert sheet is not None
    assert sheet.size == (200, 200)
    assert sheet.getpixel((50, 50)) == (200, 200, 200)
    assert sheet.getpixel((150, 50)) == BACKGROUND  # not begun
    assert np.asarray(sheet)[110:190, 10:90].std() > 0  # in work
    assert sheet.getpixel((150, 150)) == (128, 128, 128)
    assert sheet.getpixel((150, 110)) == BACKGROUND  # beside a wide one


def test_of_too_many_images_the_newest_are_shown(tiny: Model, lane: Lane) -> None:
    preview = BatchPreview(tiny, [(64, 64)] * 3000, Clock(10.0))
    for index in (0, 1024, 1030):
        preview.finish(index, np.full((64, 64, 3), 200, np.uint8))
    sheet = preview.draw({1023: lane, 1025: lane})
    assert sheet is not None
    assert sheet.size == (1024, 1024)
    shown = [(x, 0) for x in range(32) if sheet.getpixel((32 * x + 16, 16)) != BACKGROUND]
    assert shown == [(0, 0), (1, 0), (6, 0)]
    assert np.asarray(sheet)[32:].max() == max(BACKGROUND)


def test_nothing_is_drawn_before_there_is_something_to_see(tiny: Model) -> None:
    assert BatchPreview(tiny, [(64, 64)], Clock(10.0)).draw({}) is None


def test_drawing_takes_a_small_share_of_the_time_and_finished_images_are_seen_soon(
    tiny: Model, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each part takes is as measured of 24 images of 128 x 128 on two cores."""
    clock = Clock()
    spent = 0.0

    def takes(seconds: float, kind: type, name: str) -> None:
        plain = getattr(kind, name)

        def slow(*args: Any) -> Any:
            nonlocal spent
            # Something else has the core now and then.
            clock.now += seconds if random.random() < 0.95 else 0.3
            spent += seconds
            plain(*args)
            return seconds

        monkeypatch.setattr(kind, name, slow)

    takes(0.0006, BatchPreview, "_put")
    takes(0.010, BatchPreview, "_time_encoding")
    takes(0.012, LatentColours, "look")
    random = Random(0)
    preview = BatchPreview(tiny, [(64, 64)] * 60, clock)
    drawn: list[float] = []
    waits: list[float] = []
    waiting: list[float] = []
    done = 0
    while clock.now < 60:
        clock.now += 0.05
        if clock.now > done + 4:  # four images are done at once
            for index in range(done, done + 4):
                preview.finish(index, np.full((64, 64, 3), 200, np.uint8))
                waiting.append(clock.now)
            done += 4
        before = clock.now
        if preview.draw({done + n: lane for n in range(4)}) is not None:
            drawn.append(before)
            waits.extend(before - since for since in waiting)
            waiting.clear()
    assert 1 <= drawn[0] < 1.2
    assert spent <= 0.02 * clock.now
    assert np.diff(drawn).min() >= 0.3
    assert np.diff(drawn).max() < 4  # also soon after the first
    assert len(waits) > 40
    assert max(waits) <= 1


def test_the_end_is_drawn_in_any_case(tiny: Model, lane: Lane) -> None:
    clock = Clock()
    preview = BatchPreview(tiny, [(64, 64)], clock)
    clock.now = 0.9
    assert preview.draw({0: lane}) is None  # too soon for the first
    clock.now = 1.0
    assert preview.draw({0: lane}) is not None
    for _ in range(2):
        preview._pace.sheet.took(1.0)  # far more than its share
    clock.now = 1.5
    assert preview.draw({0: lane}) is None
    preview.finish(0, np.full((64, 64, 3), 200, np.uint8))
    end = preview.draw({}, last=True)
    assert end is not None
    assert end.getpixel((32, 32)) == (200, 200, 200)


def test_colours_of_latents_are_near_those_of_the_decoded_image() -> None:
    model = load_model("demo", device="cpu", dtype="fp32")
    red = ImageRequest(prompt="a red circle", seed=3, num_inference_steps=8, guidance_scale=3.0)
    lane = lanes_of(model, [red])[0]
    colours = LatentColours(model)
    # A first guess, whose latents are far from those of any image, is seen as it is decoded too.
    for latents in (4 * lane.latents.flip(-1), lane.latents):
        colours.look(0, latents)
        colours.learn()
        rough = colours.of(0, latents) / 255
        sharp = decode(model, latents).numpy()
        small = np.asarray(Image.fromarray((sharp * 255).astype(np.uint8)).reduce(8)) / 255
        assert rough.shape == small.shape
        assert np.abs(rough - small).mean() < 0.06


def test_colours_are_looked_up_for_as_many_images_as_there_is_time_for(
    tiny: Model, lane: Lane
) -> None:
    clock = Clock(a_look=0.01)
    preview = BatchPreview(tiny, [(64, 64)] * 4, clock)
    running = dict.fromkeys(range(4), lane)
    clock.now = FIRST + 0.001
    assert preview.draw(running) is not None
    assert len(preview._looked) == 2  # more are not paid for yet
    clock.now = 60.0
    assert preview.draw(running) is not None
    assert len(preview._looked) == 4


def test_a_finished_image_is_shown_soon(tiny: Model, lane: Lane) -> None:
    clock = Clock(a_look=0.005)
    preview = BatchPreview(tiny, [(64, 64)] * 4, clock)
    clock.now = 10.0
    assert preview.draw({0: lane, 1: lane}) is not None
    clock.now = 11.0
    preview.finish(0, np.full((64, 64, 3), 200, np.uint8))
    sheet = preview.draw({1: lane})
    assert sheet is not None
    assert sheet.getpixel((32, 32)) == (200, 200, 200)


def test_where_there_is_time_for_few_those_shown_longest_ago_are_drawn_anew(
    tiny: Model, lane: Lane
) -> None:
    clock = Clock(a_look=0.001)
    preview = BatchPreview(tiny, [(64, 64)] * 9, clock)
    running = dict.fromkeys(range(9), lane)
    clock.now = FIRST + 0.001
    assert preview.draw(running) is not None
    pace = preview._pace
    for _ in range(20):  # as of large images
        pace.tile.took(pace.sheet.each / 2.2)
    for _ in range(3):
        clock.now += 1000
        before = dict(preview._tiled)
        assert preview.draw(running) is not None
        anew = [index for index in running if preview._tiled[index] > before[index]]
        assert len(anew) == 4
        others = [before[index] for index in running if index not in anew]
        assert max(before[index] for index in anew) <= min(others)


def test_nothing_is_waited_for(tiny: Model, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has not come so far yet."""
    preview = BatchPreview(tiny, [(64, 64)] * 2, Clock(10.0))
    monkeypatch.setattr(Mark, "is_there", False)
    assert preview.draw({0: lane}) is None
    preview.finish(1, np.full((64, 64, 3), 200, np.uint8))
    assert preview.draw({0: lane}) is None
    monkeypatch.setattr(Mark, "is_there", True)
    sheet = preview.draw({})  # the image was in work when it was fetched
    assert sheet is not None
    assert np.asarray(sheet)[:60, :60].std() > 0
    assert sheet.getpixel((32, 96)) == (200, 200, 200)
    preview.finish(0, np.full((64, 64, 3), 100, np.uint8))
    monkeypatch.setattr(Mark, "is_there", False)
    end = preview.draw({}, last=True)
    assert end is not None
    assert end.getpixel((32, 32)) == (100, 100, 100)
