"""Names are decided before the first image, and a batch completes what an earlier one began."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from batch_sdxl.core.errors import OutputError
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.saving.batch_writer import BatchWriter
from batch_sdxl.core.saving.file_names import FileName
from batch_sdxl.core.saving.image_file import file_texts, read_record
from batch_sdxl.core.saving.planned_files import Place
from batch_sdxl.core.saving.writer import FORMATS
from batch_sdxl.tests.records import make_record


def record(seed: int) -> Record:
    return make_record(seed=seed, identity=f"{seed:064x}")


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def writer(
    folder: Path, *seeds: int, completes: bool = True, form: str = "png", bare: bool = False
) -> BatchWriter:
    kind = FORMATS[form]
    places = [
        Place(
            folder,
            FileName("", "x", None, "") if bare else FileName("", "x_", "03", f"_{seed}"),
            kind.suffix,
            record(seed),
        )
        for seed in seeds
    ]
    return BatchWriter(
        places, kind, lambda one: file_texts(one, {}), quality=90, completes=completes
    )


def write(made: BatchWriter, *indices: int) -> list[str]:
    return [
        made.write(index, pixels(made._places[index].record.request.seed or 0)).name
        for index in indices
    ]


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_do_not_depend_on_the_order_of_images(tmp_path: Path) -> None:
    assert write(writer(tmp_path, 7, 8, 9), 2, 0, 1) == [
        "x_003_9.png",
        "x_001_7.png",
        "x_002_8.png",
    ]


@pytest.mark.parametrize("first", [(0,), (2,), (1, 3), (3, 0, 2)])
@pytest.mark.parametrize("others", [(), (50, 51)])
def test_what_an_earlier_run_left_out_is_added(
    tmp_path: Path, first: tuple[int, ...], others: tuple[int, ...]
) -> None:
    write(writer(tmp_path, *others), *range(len(others)))
    write(writer(tmp_path, 1, 2, 3, 4), *first)
    again = writer(tmp_path, 1, 2, 3, 4)
    assert again.finished() == {*first}
    write(again, *sorted({*range(4)} - {*first}))
    start = len(others) + 1
    expected = [f"x_{start + at:03}_{at + 1}.png" for at in range(4)]
    assert [file.name for _, file in sorted(again.files.items())] == expected
    assert len(there(tmp_path)) == 4 + len(others)


def test_a_seed_more_is_a_file_more_and_another_image_goes_beside(tmp_path: Path) -> None:
    write(writer(tmp_path, 1, 2), 0, 1)
    more = writer(tmp_path, 1, 9, 2)
    assert more.finished() == {0, 2}
    assert write(more, 1) == ["x_003_9.png"]
    assert there(tmp_path) == ["x_001_1.png", "x_002_2.png", "x_003_9.png"]


def test_anew_makes_another_set(tmp_path: Path) -> None:
    write(writer(tmp_path, 1, 2), 0, 1)
    assert write(writer(tmp_path, 1, 2, completes=False), 0, 1) == ["x_003_1.png", "x_004_2.png"]


def test_names_without_a_number(tmp_path: Path) -> None:
    write(writer(tmp_path, 1, 2, bare=True), 1)
    assert there(tmp_path) == ["x_2.png"]
    again = writer(tmp_path, 1, 2, 3, bare=True)
    assert again.finished() == {1}
    assert write(again, 0, 2) == ["x.png", "x_3.png"]
    assert write(writer(tmp_path, 2, bare=True, completes=False), 0) == ["x_4.png"]


def test_each_file_of_others_is_read_once_whatever_the_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(writer(tmp_path, *range(20), bare=True), *range(20))
    read: list[Path] = []

    def reading(path: Path) -> Record:
        read.append(path)
        return read_record(path)

    monkeypatch.setattr("batch_sdxl.core.saving.planned_files.read_record", reading)
    more = writer(tmp_path, *range(100, 130), 7, bare=True)
    assert len(read) == len({*read}) == 20
    assert more.finished() == {30}
    assert write(more, 0, 29) == ["x_21.png", "x_50.png"]


def test_the_same_image_twice_is_two_files(tmp_path: Path) -> None:
    write(writer(tmp_path, 5, 5), 0, 1)
    again = writer(tmp_path, 5, 5, 5)
    assert again.finished() == {0, 1}
    assert write(again, 2) == ["x_003_5.png"]


@pytest.mark.parametrize("form", ["png 16 bit", "jpeg", "webp", "webp lossless"])
def test_what_a_file_does_not_say_is_seen_in_its_pixels(tmp_path: Path, form: str) -> None:
    deep = FORMATS[form].bits == 16
    image = pixels(1).astype(np.uint16) * 257 if deep else pixels(1)
    names: list[str] = []
    for other in (False, False, True):  # the same again, and what went through another node
        one = writer(tmp_path, 1, form=form)
        assert (one.finished() == {0}) == (form == "webp lossless" and bool(names))
        names.append(one.write(0, image[::-1] if other else image).name)
    assert names[0] == names[1] != names[2]


def test_two_writers_at_once_take_no_name_from_each_other(tmp_path: Path) -> None:
    one, same, other = (writer(tmp_path, *seeds) for seeds in ((1, 2), (1, 2), (1, 3)))
    assert write(one, 0) == write(same, 0) == write(other, 0) == ["x_001_1.png"]
    assert write(same, 1) == write(one, 1) == ["x_002_2.png"]
    assert write(other, 1) == ["x_002_3.png"]
    anew = [writer(tmp_path, 1, completes=False) for _ in range(2)]
    assert [write(each, 0) for each in anew] == [["x_003_1.png"], ["x_004_1.png"]]


def test_a_folder_that_is_deleted_midway_is_made_again(tmp_path: Path) -> None:
    made = writer(tmp_path / "out", 1, 2)
    write(made, 0)
    (tmp_path / "out" / "x_001_1.png").unlink()
    (tmp_path / "out").rmdir()
    write(made, 1)
    assert there(tmp_path / "out") == ["x_002_2.png"]


@pytest.mark.parametrize(("form", "free"), [("png", 58), ("jpeg", 6)])
def test_a_disk_without_room_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, free: int
) -> None:
    # 5 images of 24 x 16: 5,760 numbers
    usage = lambda folder: SimpleNamespace(free=10 * free)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    writer(tmp_path / "to" / "come", 1, 2, 3, 4, 5, form=form)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=9 * free))
    with pytest.raises(OutputError, match="room for the files"):
        writer(tmp_path / "to" / "come", 1, 2, 3, 4, 5, form=form)
