import numpy as np
from batch_sdxl.core.store import FinishedImages


def image(shade: int) -> np.ndarray:
    return np.full((10, 10, 3), shade, np.uint8)


def test_images_are_found_by_their_key() -> None:
    store = FinishedImages()
    store.put("a", image(1))
    found = store.get("a")
    assert found is not None
    assert found[0, 0, 0] == 1
    assert store.get("b") is None


def test_the_oldest_make_room_for_new_ones() -> None:
    store = FinishedImages(limit=900)
    for shade, key in enumerate("abca"):
        store.put(key, image(shade))
    assert [store.get(key) is not None for key in "abc"] == [True, True, True]
    store.put("d", image(4))
    assert [store.get(key) is not None for key in "abcd"] == [True, False, True, True]
    store.put("e", np.zeros((100, 100, 3), np.uint8))
    assert [store.get(key) for key in "abcde"] == [None] * 5


def test_released_images_are_gone() -> None:
    store = FinishedImages(limit=600)
    for key in "ab":
        store.put(key, image(0))
    store.release()
    assert store.get("a") is None
    for key in "cd":
        store.put(key, image(0))
    assert store.get("c") is not None
