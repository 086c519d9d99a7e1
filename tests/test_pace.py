import pytest
from batch_sdxl.core.engine.progress import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, clock: Clock, steps: int, seconds: float, each: int = 4) -> None:
    """Up to so many steps, `each` in every call, a call in so many seconds."""
    for done in range(each, steps + 1, each):
        clock.now += seconds
        pace.update(done)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, "10 of 40 images, 2.0 images/s, 15 s left"),
        (1, "10 of 40 images, 5.0 s per image, 2 min left"),
        (40, "10 of 40 images, 200.0 s per image, 1 h 40 min left"),
    ],
)
def test_a_person_can_read_how_far_it_is(seconds: float, expected: str) -> None:
    clock = Clock()
    pace = Pace(40 * 20, 40, clock=clock)
    run(pace, clock, 200, seconds)
    assert pace.describe(10) == expected


def test_before_there_is_a_pace_it_says_so() -> None:
    clock = Clock()
    pace = Pace(100, 5, clock=clock)
    for steps in (0, 0, 4, 4):
        pace.update(steps)
        assert pace.describe(0) == "0 of 5 images, estimating the time left"


def test_a_slow_start_and_former_times_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(4000, 200, clock=clock)
    clock.now = 60
    run(pace, clock, 400, 2.0)
    for done in range(404, 2001, 4):
        clock.now += 0.2
        pace.update(done)
    assert pace.describe(100) == "100 of 200 images, 1.0 images/s, 2 min left"


def test_images_that_were_there_before_take_no_time() -> None:
    clock = Clock()
    pace = Pace(100, 8, kept=3, clock=clock)
    run(pace, clock, 40, 1.0, each=20)
    assert pace.describe(5) == "5 of 8 images, 1.0 s per image, 3 s left"


def test_at_the_end_nothing_is_left() -> None:
    clock = Clock()
    pace = Pace(8, 2, clock=clock)
    run(pace, clock, 8, 1.0)
    assert pace.describe(2) == "2 of 2 images"
