"""Files are there whole or not at all."""

import os
from pathlib import Path

import pytest
from batch_sdxl.core.whole_files import (
    PARTIAL,
    _written,
    clear_abandoned,
    write_beside,
    write_whole,
)


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"one")
    write_whole(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"two")]


def test_a_file_takes_the_place_of_none(tmp_path: Path) -> None:
    assert write_beside(tmp_path / "a", b"one")
    assert not write_beside(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]


@pytest.mark.parametrize("write", [write_whole, write_beside])
def test_a_failure_leaves_what_was_there(
    write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"one")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("a", "b"):
        if name == "b" or write is write_whole:
            with pytest.raises(OSError, match="No space"):
                write(tmp_path / name, b"two")  # type: ignore[operator]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]


def test_file_systems_without_links_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unknown)
    assert write_beside(tmp_path / "a", b"one")
    assert not write_beside(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]


@pytest.mark.parametrize("error", [FileExistsError(17, "File exists"), OSError(1, "Not permitted")])
def test_a_name_that_is_taken_meanwhile_is_left_alone(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(source: Path, target: Path) -> None:
        target.write_bytes(b"one")  # another program, since it was looked for
        raise error

    monkeypatch.setattr(os, "link", late)
    assert not write_beside(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]


def test_what_killed_writers_left_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    def age(path: Path) -> None:
        os.utime(path, (1, 1))

    left, new, mine = (tmp_path / name for name in (f"{PARTIAL}a", f"{PARTIAL}b", "mine.png"))
    for path in (left, new, mine):
        path.write_bytes(b"x")
    age(left)
    age(mine)
    with _written(tmp_path, b"x") as at_work:
        age(at_work)  # one that takes its time
        clear_abandoned(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([at_work, new, mine])
    clear_abandoned(tmp_path / "not there")
