"""Whatever happens to disks and folders in the midst of a run, nothing that is finished is lost."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core.engine.diffusers_backend import DiffusersBackend
from batch_sdxl.core.store.chosen import FOLDER
from batch_sdxl.headless.cli.main import main
from PIL import Image

COUNT = 4
COMMAND = ["generate", "--prompts", "a red circle", "--seeds", f"1..{COUNT}", "--steps", "1"]
COMMAND += ["--cfg", "1", "--width", "64", "--height", "64", "--page"]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a disk")
    (folder / "other").touch()
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], list[int]]:
    """Has something happen before an image is decoded; gives a list that grows with each one."""
    own = DiffusersBackend.decode

    def arrange(number: int, happens: Callable[[], object]) -> list[int]:
        calls: list[int] = []

        def decode(self: Any, *args: Any) -> Any:
            calls.append(1)
            if len(calls) == number:
                happens()
            return own(self, *args)

        monkeypatch.setattr(DiffusersBackend, "decode", decode)
        return calls

    return arrange


def pixels(folder: Path) -> dict[str, bytes]:
    return {file.name: np.asarray(Image.open(file)).tobytes() for file in folder.glob("b*.png")}


def fill(folder: Path) -> None:
    """Leave no room on a disk."""
    free = os.statvfs(folder)
    with (folder / "other").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_takes_no_more(
    disk: Path, before: Any, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    def happens() -> None:
        if fault == "full":
            fill(disk)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    calls = before(3, happens)
    assert main([*COMMAND, "--output", str(disk / "out")]) == 1
    err = capsys.readouterr().err
    assert ("No space left" if fault == "full" else "Read-only file system") in err
    assert f"There is: 2 files in {disk / 'out'}. The same command goes on" in err
    there = pixels(disk / "out")
    assert len(there) == 2
    assert not [path for path in (disk / "out").iterdir() if path.name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,rw,size=1m", str(disk)], check=True)
    assert main([*COMMAND, "--output", str(disk / "out")]) == 0
    assert there.items() < pixels(disk / "out").items()
    assert len(calls) == COUNT  # the third was in the store already


def test_a_store_without_room_costs_nothing_but_the_store(
    disk: Path, before: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER, str(disk / "store"))
    before(2, lambda: fill(disk))
    assert main([*COMMAND, "--output", "out"]) == 0
    assert capsys.readouterr().err.count("not kept for later runs") == 1
    assert len(pixels(Path("out"))) == COUNT


def test_an_output_folder_that_is_deleted(before: Any, capsys: pytest.CaptureFixture[str]) -> None:
    calls = before(3, lambda: shutil.rmtree("out"))
    assert main([*COMMAND, "--output", "out"]) == 0
    left = pixels(Path("out"))
    assert len(left) == 2
    assert main([*COMMAND, "--output", "out"]) == 0
    assert left.items() < pixels(Path("out")).items()
    assert len(calls) == COUNT


def test_a_store_that_is_damaged_or_deleted(
    store: Path, before: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = before(3, lambda: shutil.rmtree(store))
    assert main([*COMMAND, "--output", "first"]) == 0
    kept = sorted(store.rglob("*.safetensors"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    assert main([*COMMAND, "--output", "second"]) == 0
    assert pixels(Path("second")) == pixels(Path("first"))
    assert len(calls) == COUNT + 3


#: As another user, who can read no more of our modules by then: they are read once before.
ORDINARY = """
import os, sys
from pathlib import Path
from batch_sdxl.headless.cli.main import main
os.umask(0)
command = ["generate", "--prompts", "x", "--seeds", "1", "--output"]
Path("taken").touch()
Path("locked").mkdir(mode=0o700)
Path("read").mkdir(mode=0o555)
assert main([*command, "taken"]) == 1
try:
    os.setresuid(65534, 65534, 65534)
except OSError:
    sys.exit(77)
for folder in ("locked", "locked/below", "read", "read/below"):
    assert main([*command, folder]) == 1
assert "torch" not in sys.modules
"""


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_a_folder_without_permission_is_refused_at_the_start(tmp_path: Path) -> None:
    # Folders above are closed to others: the working directory is not asked for by its name.
    code = [sys.executable, "-c", ORDINARY]
    done = subprocess.run(code, capture_output=True, text=True, check=False, cwd=tmp_path)
    if done.returncode == 77:
        pytest.skip("only root can become another user")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Permission denied") == 4
    assert done.stderr.count("To do:") == 5
