"""A real ComfyUI: COMFYUI_DIR is its checkout, COMFYUI_PYTHON its interpreter."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
import torch

PACK = Path(batch_sdxl.__file__).parent
START_SECONDS = 300
RUN_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.comfy)
            if "COMFYUI_DIR" not in os.environ:
                item.add_marker(pytest.mark.skip("COMFYUI_DIR is not set"))


class ComfyUI:
    """A running server with the pack in it."""

    def __init__(self, base: Path, *flags: str) -> None:
        self.base = base
        (base / "custom_nodes").mkdir(parents=True)
        (base / "user").mkdir()
        # A name that is no identifier, and a link: as many people have it. (No blank: newer ComfyUI
        # answers 404 for the scripts of such a pack.)
        (base / "custom_nodes" / "batch-sdxl.1").symlink_to(PACK, target_is_directory=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = base / "comfyui.log"
        command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            "main.py",
            "--cpu",
            *("--base-directory", str(base)),
            *("--database-url", f"sqlite:///{base}/user/comfyui.db"),
            *("--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"),
            *flags,
        ]
        # Bits on a CPU depend on the number of threads.
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=os.environ["COMFYUI_DIR"], stdout=log, stderr=log, env=environment
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.5)
        self.stop()
        raise RuntimeError(self.log.read_text("utf-8", "replace")[-3000:])

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def run(self, prompt: dict[str, Any], workflow: Any = None) -> dict[str, Any]:
        """The history entry of a graph in API format, when it has ended."""
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow else {}
        status, answer = self.post("/prompt", {"prompt": prompt, "extra_data": extra})
        assert status == 200, answer
        end = time.monotonic() + RUN_SECONDS
        while time.monotonic() < end:
            history = self.get(f"/history/{answer['prompt_id']}")
            if history:
                entry: dict[str, Any] = history[answer["prompt_id"]]
                return entry
            time.sleep(0.2)
        raise TimeoutError(self.log.read_text("utf-8", "replace")[-3000:])

    def files(self, entry: dict[str, Any]) -> list[Path]:
        """The files that a run has written, in order."""
        return [
            self.base / shown["type"] / shown["subfolder"] / shown["filename"]
            for output in entry["outputs"].values()
            for shown in output.get("images", [])
        ]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    server = ComfyUI(tmp_path_factory.mktemp("comfyui") / "base")
    yield server
    server.stop()


@pytest.fixture
def comfyui_without_metadata(tmp_path: Path) -> Iterator[ComfyUI]:
    server = ComfyUI(tmp_path / "base", "--disable-metadata")
    yield server
    server.stop()
