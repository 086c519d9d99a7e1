"""Pieces of work: what workers take, and whose fault a failure is."""

from collections import deque

import pytest
from batch_sdxl.cluster.work import TRIES, WAVES, Queue, Work
from batch_sdxl.core.errors import BatchSDXLError, FailedImage

WHY = FailedImage("an image", "none", "Try again.")


class Spoiled(dict[int, BatchSDXLError]):
    """Images that cannot be made."""

    def add(self, index: int, error: BatchSDXLError) -> None:
        assert index not in self
        self[index] = error


@pytest.fixture
def spoiled() -> Spoiled:
    return Spoiled()


def work(spoiled: Spoiled, *counts: int, lanes: int = 4) -> Work:
    start, queues = 0, []
    for count in counts:
        queues.append(Queue(deque(range(start, start + count)), lanes, 1.0))
        start += count
    return Work(queues, spoiled.add)


def test_pieces_fill_lanes_and_get_smaller(spoiled: Spoiled) -> None:
    one = work(spoiled, 100)
    sizes, number = [], 0
    while piece := one.take(1 + number % 2, 2):
        sizes.append(len(piece.indices))
        number += 1
    assert sum(sizes) == 100
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == WAVES * 4
    assert all(size % 4 == 0 for size in sizes if size > 4)
    assert len(sizes) > 7


def test_all_workers_have_something_to_do(spoiled: Spoiled) -> None:
    one = work(spoiled, 6)
    pieces = [one.take(worker, 2) for worker in (1, 2)]
    assert [len(piece.indices) for piece in pieces if piece] == [3, 2]
    assert one.take(1, 2, ahead=True) is None


def test_shapes_are_not_mixed(spoiled: Spoiled) -> None:
    one = work(spoiled, 3, 3)
    pieces = []
    while piece := one.take(1, 1):
        pieces.append(piece.indices)
    assert pieces == [[0, 1, 2], [3, 4, 5]]


def test_a_piece_that_fails_goes_to_another_worker(spoiled: Spoiled) -> None:
    one = work(spoiled, 4)
    piece = one.take(1, 1)
    assert piece is not None
    one.done(piece, 0, 1)
    one.failed(piece, 1, {1, 2}, WHY)
    assert one.take(1, 2) is None
    again = one.take(2, 2)
    assert again is piece
    assert again.indices == [1, 2, 3]
    for index in (1, 2, 3):
        assert one.done(again, index, 2)
    assert not one.missing
    assert one.blame == {1: 1, 2: 0}
    assert not spoiled


def test_a_worker_is_not_blamed_for_what_fails_everywhere(spoiled: Spoiled) -> None:
    one = work(spoiled, 2)
    tried: list[tuple[int, list[int]]] = []
    while one.missing:
        for worker in (1, 2):
            if piece := one.take(worker, 2):
                tried.append((worker, list(piece.indices)))
                for index in [at for at in piece.indices if at != 0]:
                    if 0 not in piece.indices:
                        one.done(piece, index, worker)
                one.failed(piece, worker, {1, 2}, WHY if piece.indices else None)
    assert spoiled == {0: WHY}
    assert not any(one.blame.values())


def test_a_worker_that_only_fails_does_not_run_through_all_work(spoiled: Spoiled) -> None:
    one = work(spoiled, 1000)
    taken = 0
    while piece := one.take(1, 2):
        taken += 1
        one.failed(piece, 1, {1, 2}, WHY)
    assert taken == TRIES


def test_what_waited_behind_a_failure_goes_on_anywhere(spoiled: Spoiled) -> None:
    one = work(spoiled, 4)
    piece = one.take(1, 1)
    assert piece is not None
    one.failed(piece, 1, {1}, None)
    assert one.take(1, 1) is piece


def test_nothing_is_counted_twice(spoiled: Spoiled) -> None:
    one = work(spoiled, 1)
    piece = one.take(1, 1)
    assert piece is not None
    one.missing.discard(0)
    assert not one.done(piece, 0, 1)
