"""Batch Generate on all devices of a real ComfyUI: two workers of one thread, and its Cancel.

`PYTHONPATH` may name a folder with Ray for ComfyUI's interpreter.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.tests.comfyui.conftest import ComfyUI, importable
from batch_sdxl.tests.comfyui.test_running import (
    NODE,
    PROMPTS,
    STEPS,
    expected,
    graph,
    history,
    run,
    texts,
)
from PIL import Image

#: What Ray calls its processes that are no worker of ours.
OTHERS = (b"ray::IDLE", b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")


def has_ray() -> bool:
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    return subprocess.run([python, "-c", "import ray"], capture_output=True).returncode == 0


def on_all(prefix: str, first_seed: int) -> dict[str, Any]:
    nodes = graph(prefix, first_seed)
    nodes[NODE]["inputs"]["devices"] = "all"
    return nodes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not Path("/proc").is_dir() or not has_ray():
        pytest.skip("ComfyUI's interpreter has no Ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCH_SDXL_RAY_WORKERS", "2")
        patch.setenv("BATCH_SDXL_RAY_CPUS", "1")
        server = ComfyUI(tmp_path_factory.mktemp("workers") / "base")
    yield server
    server.stop()


def children(pid: int) -> Iterator[int]:
    """All processes below one, whichever thread has started them."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child)
                yield from children(int(child))


def workers(server: Any) -> set[int]:
    """Processes of workers, by the names that Ray gives its own: of the class, or of its task."""
    found = set()
    for pid in {*children(server.process.pid)}:
        with suppress(OSError):
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
            if name.startswith(b"ray::") and not name.startswith(OTHERS):
                found.add(pid)
    return found


def computing(server: Any) -> set[int]:
    """Workers that take more than a tenth of a second of CPU in one."""

    def spent() -> dict[int, float]:
        found = {}
        for pid in workers(server):
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return found

    before = spent()
    time.sleep(1)
    return {pid for pid, now in spent().items() if now - before.get(pid, now) > 0.1}


def pictures(server: Any, prompt_id: str) -> list[Any]:
    return [
        np.asarray(Image.open(file)) for file in sorted(server.files(history(server, prompt_id)))
    ]


def of_one_thread(first_seed: int) -> list[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return expected(first_seed)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def asking(server: Any) -> Iterator[list[float]]:
    """The seconds that answers of the server take within the block."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):
            start = time.monotonic()
            server.get("/queue")
            took.append(time.monotonic() - start)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def test_two_workers_give_the_images_of_one_thread(server: Any) -> None:
    with asking(server) as took:
        listener, prompt_id = run(server, on_all("first", 1000))
        listener.wait("execution_success", "execution_error")
    made = pictures(server, prompt_id)
    assert len(made) == len(PROMPTS)
    assert all(map(np.array_equal, made, of_one_thread(1000)))
    assert max(took) < 5  # on a busy machine
    told = texts(listener)
    assert "Ray starts." in told
    assert any(text.endswith("loads the model.") for text in told)
    assert any(text.startswith("0 of 8 images, ") and text.endswith(" left") for text in told)
    steps = [m.data["value"] for m in listener.of("progress") if m.data["node"] == NODE]
    assert steps == sorted(steps)
    assert steps[-1] == STEPS * len(PROMPTS)
    assert len({*steps}) > len(PROMPTS)  # also while images are under way
    listener.close()


def test_workers_stay_for_the_next_run_until_comfyui_is_told_to_free(server: Any) -> None:
    before = workers(server)
    assert len(before) == 2
    listener, prompt_id = run(server, on_all("second", 2000))
    listener.wait("execution_success", "execution_error")
    listener.close()
    assert len(pictures(server, prompt_id)) == len(PROMPTS)
    assert workers(server) == before
    request = urllib.request.Request(
        server.url + "/free", b'{"unload_models": true}', {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()
    end = time.monotonic() + 60
    while workers(server) and time.monotonic() < end:
        time.sleep(0.1)
    assert not workers(server)


def test_cancel_ends_the_work_of_all_and_the_next_run_goes_on(server: Any) -> None:
    listener, prompt_id = run(server, on_all("stopped", 3000))
    listener.wait("progress", where=lambda data: data["node"] == NODE and data["value"] >= STEPS)
    at_work = workers(server)
    urllib.request.urlopen(server.url + "/interrupt", data=b"", timeout=60).close()
    listener.wait("execution_interrupted", timeout=30)
    end = time.monotonic() + 60
    while (busy := computing(server)) and time.monotonic() < end:
        pass
    assert not busy
    assert at_work - workers(server)  # one that was still loading the model may stay
    assert texts(listener)[-1].startswith("Stopped")
    listener.close()
    listener, prompt_id = run(server, on_all("stopped", 3000))
    listener.wait("execution_success", "execution_error")
    listener.close()
    assert all(map(np.array_equal, pictures(server, prompt_id), of_one_thread(3000)))


def test_to_comfyui_workers_are_a_model_on_its_device(tmp_path: Path) -> None:
    # How many stand for workers, how many other models there are, how often workers were ended.
    expected = {
        "held": [1, 0, 0],
        "held again": [1, 0, 0],
        "freed": [0, 0, 1],
        "beside a small model": [1, 1, 1],
        "for a large model": [0, 1, 2],
    }
    comfyui = os.environ["COMFYUI_DIR"]
    process = subprocess.run(
        [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            str(Path(__file__).parent / "worker_memory_script.py"),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([comfyui, importable(tmp_path)])},
        cwd=comfyui,
        capture_output=True,
        encoding="utf-8",
    )
    assert process.returncode == 0, process.stderr[-4000:]
    assert json.loads(process.stdout.splitlines()[-1]) == expected


def test_without_ray_the_widget_says_how_to_get_it(comfyui: Any) -> None:
    if has_ray():
        pytest.skip("ComfyUI's interpreter has Ray")
    status, answer = comfyui.post("/prompt", {"prompt": on_all("none", 1)})
    assert status == 400
    errors = answer["node_errors"][NODE]["errors"]
    assert all("-m pip install ray[default]" in error["details"] for error in errors)
