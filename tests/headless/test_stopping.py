"""A run that is stopped, killed or left alone loses nothing that was finished."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from batch_sdxl.core.store.chosen import FOLDER
from batch_sdxl.headless.cli.main import main
from PIL import Image

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")

COUNT = 6
PROGRAM = [
    *(sys.executable, "-c"),
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from batch_sdxl.headless.cli.main import main; sys.exit(main())",
]
COMMAND = [
    *("generate", "--prompts", "a red circle", "--seeds", f"1..{COUNT}", "--combine", "product"),
    *("--steps", "12", "--width", "64", "--height", "64", "--rows-per-call", "4"),
]


class Job:
    """The command, at work in a folder."""

    def __init__(self, folder: Path, *options: str, **streams: int | IO[str] | None) -> None:
        self.output = folder / "out"
        given: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(
            [*PROGRAM, *COMMAND, "--output", str(self.output), *options],
            env={**os.environ, FOLDER: str(folder / "store")},
            text=True,
            stdin=subprocess.DEVNULL,
            **given | streams,
        )

    def wait_for(self, files: int) -> None:
        """Until so many files are there."""
        while len(self.files()) < files and self.process.poll() is None:
            time.sleep(0.002)

    def end(self) -> str:
        """Its last words."""
        _, said = self.process.communicate(timeout=600)
        return said or ""

    def files(self) -> dict[str, int]:
        """The images, and when each was written."""
        if not self.output.is_dir():
            return {}
        return {p.name: p.stat().st_mtime_ns for p in self.output.glob("*.png")}

    def pixels(self) -> dict[str, bytes]:
        return {n: np.asarray(Image.open(self.output / n)).tobytes() for n in self.files()}


def go_on(job: Job, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same command once more, in this process, and what it says."""
    said = StringIO()
    with monkeypatch.context() as patch, redirect_stderr(said), redirect_stdout(StringIO()):
        patch.setenv(FOLDER, str(job.output.parent / "store"))
        code = main([*COMMAND, "--output", str(job.output)])
    assert code == 0, said.getvalue()
    return said.getvalue()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The pixels of a run that nobody disturbs, though nobody reads what it says either."""
    read, write = os.pipe()
    os.close(read)
    job = Job(tmp_path_factory.mktemp("whole"), stdout=write, stderr=write)
    os.close(write)
    job.end()
    assert job.process.returncode == 0
    pixels = job.pixels()
    assert len(pixels) == COUNT
    return pixels


@pytest.mark.parametrize(
    "name",
    ["SIGINT", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGTERM", "SIGHUP"))],
)
def test_a_run_that_is_stopped_says_what_is_there_and_goes_on(
    tmp_path: Path, expected: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)
    job.wait_for(1)
    job.process.send_signal(getattr(signal, name))
    said = job.end()
    there = job.files()
    assert job.process.returncode == 130
    assert "once more stops at once" in said
    assert re.search(rf"Stopped. {len(there)} files? in {job.output}\. The same command goes", said)
    assert 1 <= len(there) < COUNT
    assert f"{len(there)} of {COUNT} images from earlier runs" in go_on(job, monkeypatch)
    assert job.pixels() == expected
    assert there.items() <= job.files().items()


def kill(job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a run, run again: the end is that of a run which was left alone."""
    job.process.kill()
    job.end()
    written = job.files()
    stored = len(list((job.output.parent / "store").rglob("[!.]*.safetensors")))
    assert job.pixels().items() <= expected.items()
    assert stored >= len(written)
    said = go_on(job, monkeypatch)
    # What was stored is not made twice.
    kept = re.search(rf"(\d) of {COUNT} images from earlier runs", said)
    assert (int(kept[1]) if kept else 0) == stored
    assert job.pixels() == expected
    assert written.items() <= job.files().items()
    assert {p.suffix for p in job.output.iterdir() if not p.name.startswith(".")} == {".png"}


def test_a_run_that_is_killed_goes_on(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)
    job.wait_for(2)
    kill(job, expected, monkeypatch)


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_goes_on(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = time.monotonic()
    Job(tmp_path / "timed").end()
    whole = time.monotonic() - begin
    draw = random.Random(0)
    for number in range(100):
        job = Job(tmp_path / str(number))
        time.sleep(draw.uniform(0.3, 1.0) * whole)
        kill(job, expected, monkeypatch)


@pytest.mark.slow
def test_two_runs_at_once_share_folder_and_store(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    jobs = [Job(tmp_path) for _ in range(2)]
    for job in jobs:
        said = job.end()
        assert job.process.returncode == 0, said
    assert jobs[0].pixels() == expected
    assert {path.suffix for path in jobs[0].output.iterdir()} == {".png"}


@pytest.mark.slow
def test_the_reader_of_a_list_may_leave(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.end()
    verify = [*PROGRAM, "verify", *[str(job.output)] * 3]
    process = subprocess.Popen(verify, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "Error" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=600) == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_that_is_stopped_before_its_run_begins_says_so(name: str) -> None:
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from batch_sdxl.headless.cli.commands import store
from batch_sdxl.headless.cli.main import main
store.run = lambda args: os.kill(os.getpid(), signal.{name}) or 0
sys.exit(main(["store"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "\nStopped. No file is written.\n")
