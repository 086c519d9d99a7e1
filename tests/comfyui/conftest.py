"""A real ComfyUI: COMFYUI_DIR is its checkout, COMFYUI_PYTHON its interpreter."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
import torch

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PACK = Path(batch_sdxl.__file__).parent
START_SECONDS = 300
RUN_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.comfy)
            if "COMFYUI_DIR" not in os.environ:
                item.add_marker(pytest.mark.skip("COMFYUI_DIR is not set"))


def importable(folder: Path) -> str:
    """A folder, made in another, from which ComfyUI's interpreter can import the package."""
    packages = folder / "packages"
    packages.mkdir()
    (packages / "batch_sdxl").symlink_to(Path(__file__).parents[2])
    return str(packages)


class ComfyUI:
    """A running server with the pack in it, as a link whose name is no identifier."""

    def __init__(
        self, base: Path, *flags: str, folder: str = "batch-sdxl.1", cpu: bool = True
    ) -> None:
        self.base = base
        (base / "custom_nodes").mkdir(parents=True)
        (base / "user").mkdir()
        (base / "custom_nodes" / folder).symlink_to(PACK, target_is_directory=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = base / "comfyui.log"
        self._command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            "main.py",
            *(["--cpu"] if cpu else []),
            *("--base-directory", str(base)),
            *("--database-url", f"sqlite:///{base}/user/comfyui.db"),
            *("--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"),
            *flags,
        ]
        self.start()

    def start(self) -> None:
        """Start it, for the first time or once more."""
        # Bits on a CPU depend on the number of threads.
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=os.environ["COMFYUI_DIR"],
                stdout=log,
                stderr=log,
                env=environment,
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

    def fetch(self, url: str) -> io.BytesIO:
        """A file of the server."""
        with urllib.request.urlopen(url, timeout=30) as answer:
            return io.BytesIO(answer.read())

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

    def check_draws(self, renderer: str) -> None:
        """Skip where nodes are only drawn in the `classic` way, not as `nodes2`."""
        version = self.get("/system_stats")["system"]["comfyui_version"]
        if renderer == "nodes2" and tuple(map(int, version.split(".")[:2])) < (0, 8):
            pytest.skip(f"ComfyUI {version} has no Nodes 2.0")

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


@pytest.fixture(scope="module")
def comfyui_without_diffusers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    """The name of the pack's folder has a blank, too."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "broken").mkdir()
    (folder / "broken" / "diffusers.py").write_text("raise ImportError('no diffusers here')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "broken"))
        server = ComfyUI(folder / "base", folder="batch sdxl")
    yield server
    server.stop()


@pytest.fixture
def comfyui_with_previews(tmp_path: Path) -> Iterator[ComfyUI]:
    # Front ends look for help pages in the folder up to the first dot of its name.
    server = ComfyUI(tmp_path / "base", "--preview-method", "latent2rgb", folder="batch-sdxl")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browse() -> Callable[..., dict[str, Any]]:
    """Runs a script of this folder for a browser with its arguments; what it saw."""
    if CHROMIUM is None or shutil.which("node") is None:
        pytest.skip("no chromium, or no node")
    found = subprocess.run(
        ["node", "-e", "require('playwright-core')"], cwd=HERE, capture_output=True
    )
    if found.returncode:
        pytest.skip("no playwright-core; npm install playwright-core, here or in NODE_PATH")

    def run(script: str, *arguments: str) -> dict[str, Any]:
        process = subprocess.run(
            ["node", str(HERE / script), *arguments],
            env=os.environ | {"CHROMIUM": str(CHROMIUM)},
            capture_output=True,
            encoding="utf-8",
            timeout=RUN_SECONDS,
        )
        assert process.returncode == 0, process.stderr
        seen: dict[str, Any] = json.loads(process.stdout)
        return seen

    return run
