"""Workers of a cluster give the images of one machine, whatever goes wrong with them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from batch_sdxl.cluster.cluster import Options
from batch_sdxl.cluster.lines import Lines
from batch_sdxl.core import ImageRequest
from batch_sdxl.core.errors import FailedImage, NoWorkers
from batch_sdxl.tests.cluster.faulty import Fountain, inject, notes

if TYPE_CHECKING:
    from batch_sdxl.tests.cluster.conftest import Run

Start = Any
Images = dict[int, tuple[bytes, str]]

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def test_two_workers_give_the_images_of_one_process(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    rows = shared.engine.describe_each([shared.engine.with_size(one) for one in requests])
    assert shared.make(requests) == expected
    assert [row.to_json() for row in rows] == [expected[i][1] for i in range(len(rows))]
    assert {number for number, what, *_ in notes() if what == "made"} == {1, 2}
    assert shared.says("by 2 workers")


def test_workers_say_how_far_they_are_while_an_image_is_under_way(shared: "Run") -> None:
    request = ImageRequest(prompt="p", seed=1, num_inference_steps=150, height=64)
    seen: list[int] = []
    shared.make([request], on_step=lambda progress: seen.append(progress.steps))
    assert seen == sorted(seen)
    assert any(0 < steps < 150 for steps in seen)


def test_input_images_are_sent_once(shared: "Run", monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.linspace(0, 1, 64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    requests = [
        ImageRequest(prompt="p", seed=seed, num_inference_steps=2, strength=0.5, image=pixels)
        for seed in range(8)
    ]
    sent: list[tuple[int, ...]] = []
    cluster: Any = shared.engine._cluster
    keep = cluster.put

    def put(value: Any) -> Any:
        sent.append(value.shape)
        return keep(value)

    monkeypatch.setattr(cluster, "put", put)
    made = shared.make(requests)
    assert sent == [(64, 64, 3)]
    assert len({pixels for pixels, _ in made.values()}) == 8


def test_an_image_that_fails_everywhere_is_its_own_error(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    inject(poison=5)
    made = shared.make(requests)
    assert made == {index: one for index, one in expected.items() if index != 5}
    assert list(shared.failed) == [5]
    assert "an illegal access" in str(shared.failed[5])
    assert not shared.says("left out")
    with pytest.raises(FailedImage, match="an illegal access"):
        list(shared.engine.generate(requests[5:6]))


def test_a_worker_that_is_killed_loses_nothing(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    inject(kill_once=1)
    assert shared.make(requests) == expected
    assert shared.says("is lost and started again")


def test_a_worker_that_hangs_is_replaced(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    inject(hang_once=2)
    assert shared.make(requests) == expected
    assert shared.says("it said nothing for")


def test_a_worker_whose_object_store_is_full_is_helped(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    inject(full_once=1)
    assert shared.make(requests) == expected
    assert shared.says("failed: Expected an image from a worker, got OSError: no space")


def test_a_worker_that_always_fails_is_left_out(
    shared: "Run", requests: list[ImageRequest], expected: Images
) -> None:
    inject(fails=1)
    many = [replace(request, seed=request.seed + 20 * k) for k in range(4) for request in requests]
    made = shared.make(many)
    assert {index: made[index] for index in expected} == expected
    assert len(made) == len(many)
    assert shared.says("is left out: it failed 3 times where others did not")
    assert {number for number, what, *_ in notes() if what == "made"} == {1, 2}


def test_a_run_that_is_given_up_ends_its_work(shared: "Run", requests: list[ImageRequest]) -> None:
    inject(slow="all")
    images: Any = shared.engine.generate(requests)
    next(images)
    images.close()
    before = len(notes())
    crew: Any = shared.engine._cluster.crew(shared.engine.model)
    assert not any(hand.pieces for hand in crew._hands)
    assert len(notes()) == before


def test_other_numerics_are_refused_and_named(
    start: Start, requests: list[ImageRequest], expected: Images
) -> None:
    with start(more_threads=2) as run:
        run.engine.describe_each([])
        first = run.engine._cluster.crew(run.engine.model).numerics(lambda: None)
        made = run.make(requests)
    assert len(made) == len(expected)
    assert len({record[1].partition('"threads"')[2][:5] for record in made.values()}) == 1
    # Whichever came first is the one that others are measured by.
    other = {1: "threads 2 instead of 1", 2: "threads 1 instead of 2"}[first["threads"]]
    assert run.says(f"is left out: {other}")


def test_other_numerics_may_be_allowed_and_are_in_the_record(
    start: Start, requests: list[ImageRequest]
) -> None:
    options = Options(workers=2, cpus=1, any_numerics=True)
    with start(options, more_threads=2) as run:
        made = run.make(requests)
    threads = {record.partition('"threads"')[2].strip(": ")[0] for _, record in made.values()}
    assert threads == {"1", "2"}
    assert run.says("gives images of its own: threads")


def test_workers_that_cannot_be_used_are_named(
    start: Start, requests: list[ImageRequest], expected: Images
) -> None:
    with start(Options(workers=3, cpus=1), other_model=2, never_starts=3, slow=1) as run:
        assert run.make(requests) == expected
        assert run.make(requests) == expected  # with the worker that is there
    assert run.says("its model is another: SHA-256")
    assert run.says("Worker 3 is lost and started again")


def test_a_run_without_workers_says_what_is_missing(
    start: Start, requests: list[ImageRequest]
) -> None:
    with start(other_model="all") as run, pytest.raises(NoWorkers) as caught:
        run.make(requests)
    assert "the 20 images that are missing: 1-20" in caught.value.expected
    assert "worker 1" in caught.value.got
    assert "worker 2" in caught.value.got


def test_weights_are_sent_once_a_node(
    start: Start,
    requests: list[ImageRequest],
    expected: Images,
    own_cache: Path,
) -> None:
    options = Options(workers=2, cpus=1, send_weights=True)
    with start(options) as run:
        assert run.make(requests) == expected
        (folder,) = (p for p in (own_cache / "batch-sdxl" / "weights").iterdir() if p.is_dir())
        times = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
        assert "model_index.json" in {p.name for p in times}
    with start(options) as run:
        assert run.make(requests[:4]) == {i: expected[i] for i in range(4)}
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_no_more_waits_in_the_object_store_than_was_agreed(local_ray: None) -> None:
    lines = Lines(threads=1, gpus=0, cpus=1, kind=Fountain)  # type: ignore[arg-type]
    lines.start(1)
    count = 120  # of 3 MB each: more than there is room for
    lines.stream(1, "make", count, title="a fountain", most=4)
    seen: list[int] = []
    while True:
        for heard in lines.listen(10):
            if heard.kind == "end":
                lines.call(1, "given")
            elif heard.kind == "answer":
                assert heard.value == count
                lines.drop(1)
                assert seen == list(range(count))
                return
            else:
                assert heard.value.pixels[0, 0, 0] == heard.value.index % 256
                seen.append(heard.value.index)
