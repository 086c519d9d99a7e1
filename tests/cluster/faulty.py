"""Workers with faults, as a file says it that each of them reads."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from batch_sdxl.cluster.worker import Made, Report, Task, Trouble, Worker

#: Names the folder of that file, to Ray's processes too.
FOLDER = "BATCH_SDXL_FAULTS"


def inject(**faults: Any) -> None:
    """What goes wrong from now on: a fault's name -> the worker's number, or what else it needs."""
    folder = Path(os.environ[FOLDER])
    for file in folder.iterdir():
        file.unlink()
    (folder / "faults.json").write_text(json.dumps(faults))


class Faulty(Worker):
    """A real worker otherwise."""

    def __init__(self, name: str, threads: int | None) -> None:
        self._folder = Path(os.environ[FOLDER])
        self._number = int(name.rpartition(" ")[2])
        if self._has("never_starts"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(name, (threads or 1) + self._has("more_threads"))

    def prepare(self, spec: Any, parcel: Any) -> Report | Trouble:
        if self._has("other_model"):
            spec = type(spec)(device="cpu", dtype="fp32")  # the built-in one
        said = super().prepare(spec, parcel)
        self._note("prepared")
        return said

    def make(self, task: Task) -> Iterator[Any]:
        self._note("made", task.indices)
        if self._has("kill_once") and self._first():
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if self._has("hang_once") and self._first():
            time.sleep(1000)
        if (
            self._has("full_once") and self._first()
        ):  # as Ray fails where it has no room for what is made
            raise OSError("no space")
        if self._has("fails"):
            yield Trouble.of(RuntimeError("a broken GPU"))
            return
        if self._faults().get("poison") in [request.seed for request in task.requests]:
            yield Trouble.of(RuntimeError("an illegal access"))
            return
        if self._has("slow"):
            time.sleep(0.3)
        yield from super().make(task)

    def _has(self, fault: str) -> bool:
        said = self._faults().get(fault)
        return said == "all" or said == self._number

    def _faults(self) -> dict[str, Any]:
        faults: dict[str, Any] = json.loads((self._folder / "faults.json").read_text())
        return faults

    def _first(self) -> bool:
        try:
            (self._folder / "done").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _note(self, what: str, *more: Any) -> None:
        with (self._folder / "notes").open("a") as notes:
            notes.write(json.dumps([self._number, what, *more]) + "\n")


class Fountain:
    """Gives as many large arrays as it can."""

    def __init__(self, name: str, threads: int | None) -> None:
        self._given = 0

    def given(self) -> int:
        return self._given

    def make(self, number: int) -> Iterator[Made]:
        for index in range(number):
            self._given += 1
            pixels = np.full((1024, 1024, 3), index % 256, np.uint8)
            latents = np.zeros((4, 128, 128), np.float32)
            yield Made(index, pixels, latents, None)  # type: ignore[arg-type]


def notes() -> list[list[Any]]:
    """What workers noted: number, what, and more."""
    file = Path(os.environ[FOLDER]) / "notes"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
