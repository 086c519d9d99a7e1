"""Finished images on disk: durable, shared, bounded, and never other than they were."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from batch_sdxl.core.errors import OutputError
from batch_sdxl.core.store.store import ImageStore, Stored


def image(value: int = 7) -> Stored:
    draw = np.random.default_rng(value)
    pixels = draw.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return Stored(pixels, draw.standard_normal((4, 2, 3), np.float32))


def same(found: Stored | None, expected: Stored) -> bool:
    return found is not None and all(
        one.dtype == other.dtype and np.array_equal(one, other)
        for one, other in zip(found, expected, strict=True)
    )


def key(number: int) -> str:
    return f"{number:064x}"


def files(store: ImageStore) -> list[Path]:
    return sorted(store.folder.rglob("*.safetensors"))


def test_an_image_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    assert store.get(key(1)) is None
    assert not (tmp_path / "store").exists()  # looking makes no folder
    store.put(key(1), image(), "{}")
    decoded = image()._replace(image=image().image.astype(np.float32) / 255)
    store.put(key(1), decoded, "{}")
    again = ImageStore(tmp_path / "store")
    assert same(again.get(key(1)), image())
    assert same(again.get(key(1), unrounded=True), decoded)
    assert again.get(key(2)) is None
    assert again.has(key(1))
    assert not again.has(key(2))


@pytest.mark.parametrize("place", [0, 9, 60, -1, -500])
def test_an_altered_file_is_noticed_and_taken_away(tmp_path: Path, place: int) -> None:
    store = ImageStore(tmp_path)
    store.put(key(1), image(), '{"seed": 1}')
    (file,) = files(store)
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert store.get(key(1)) is None
    assert files(store) == []


def test_a_file_under_the_name_of_another_is_noticed(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.put(key(1), image(1), "{}")
    store.put(key(2), image(2), "{}")
    first, second = files(store)
    first.replace(second)
    assert store.get(key(2)) is None


@pytest.mark.parametrize("length", [0, 1, 8, 100, 1300])
def test_a_torn_file_is_noticed(tmp_path: Path, length: int) -> None:
    store = ImageStore(tmp_path)
    store.put(key(1), image(), "{}")
    (file,) = files(store)
    file.write_bytes(file.read_bytes()[:length])
    assert store.get(key(1)) is None


def test_those_unused_for_longest_make_room(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, limit=10 * 1650)
    for number in range(10):
        store.put(key(number), image(number), "{}")
    for number, file in enumerate(files(store)):
        os.utime(file, (1000 + number, 1000 + number))
    assert store.get(key(0)) is not None  # used again, so that it stays
    for number in range(10, 14):
        store.put(key(number), image(number), "{}")
        assert store.usage().size <= store.limit
    kept = [number for number in range(14) if store.has(key(number))]
    assert 0 in kept
    assert 13 in kept
    assert 1 not in kept
    assert len(kept) >= 8


def test_one_image_larger_than_the_limit_is_kept_all_the_same(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, limit=10)
    store.put(key(1), image(), "{}")
    assert store.has(key(1))


def test_a_clock_that_goes_back_takes_no_new_image_away(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, limit=4 * 1650)
    for number in range(3):
        store.put(key(number), image(number), "{}")
    for file in files(store):
        os.utime(file, (2**32, 2**32))
    for number in range(3, 6):
        store.put(key(number), image(number), "{}")
        assert same(ImageStore(tmp_path).get(key(number)), image(number))


def test_what_other_versions_left_is_let_alone(tmp_path: Path) -> None:
    old = tmp_path / "v0" / "00" / f"{key(1)}.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of another layout")
    store = ImageStore(tmp_path, limit=10)
    assert store.get(key(1)) is None
    store.put(key(1), image(), "{}")
    assert store.usage().images == 1
    store.clear()
    assert old.read_bytes() == b"of another layout"


def test_what_lies_in_an_image_s_place_is_told_or_passed_over(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.put(key(1), image(), "{}")
    (file,) = files(store)
    file.unlink()
    file.mkdir()
    assert store.get(key(1)) is None
    with pytest.raises(OutputError, match="run without a store"):
        store.put(key(1), image(), "{}")
    (file.parent.parent / "ff").write_text("a file in a folder's place")
    assert store.get("f" * 64) is None
    with pytest.raises(OutputError, match="run without a store"):
        store.put("f" * 64, image(), "{}")
    assert store.usage().images <= 1


def test_it_can_be_seen_and_emptied(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    assert (store.usage().images, store.usage().size) == (0, 0)
    store.put(key(1), image(), "{}")
    (tmp_path / "store" / "mine.txt").write_text("not the store's")
    assert store.usage().images == 1
    assert store.usage().size == sum(file.stat().st_size for file in files(store))
    assert store.clear().images == 1
    assert store.usage().images == 0
    assert store.get(key(1)) is None
    assert (tmp_path / "store" / "mine.txt").exists()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file in its place")
    with pytest.raises(OutputError, match=r"keep a finished image.*run without"):
        ImageStore(tmp_path / "store").put(key(1), image(), "{}")


WRITER = """
import sys
import time
from pathlib import Path
import numpy as np
from batch_sdxl.core.store.store import ImageStore, Stored
store = ImageStore(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number = (number + 1) % 50
    pixels = np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    latents = np.full((4, 32, 32), number, np.float32)
    store.put(f"{number:064x}", Stored(pixels, latents), "{}")
"""


def test_writers_that_are_killed_leave_whole_images_or_none(tmp_path: Path) -> None:
    """Two at once, killed at any moment; what is there afterwards is right to the last bit."""
    for round in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        time.sleep(0.05 + 0.04 * round)
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    store = ImageStore(tmp_path)
    there = [number for number in range(50) if store.has(key(number))]
    assert there
    for number in there:
        pixels = np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        latents = np.full((4, 32, 32), number, np.float32)
        assert same(store.get(key(number)), Stored(pixels, latents))
