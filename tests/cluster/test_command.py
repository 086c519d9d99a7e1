"""`--ray` of the command line, and clusters that change."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

ray = pytest.importorskip("ray")

from batch_sdxl.cluster.cluster import Options, RayCluster
from batch_sdxl.cluster.standing import StandingWorkers
from batch_sdxl.core import ImageRequest, load_model
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.store.chosen import FOLDER
from batch_sdxl.headless.cli.main import main
from batch_sdxl.host.engine_settings import EngineSettings
from batch_sdxl.tests.cluster.conftest import told_of
from batch_sdxl.tests.cluster.faulty import Faulty, inject, notes

COUNT = 24
#: The command in a process that knows of no other cluster.
PROCESS = (
    *(sys.executable, "-c"),
    "import sys; from batch_sdxl.headless.cli.main import main; sys.exit(main())",
)
PLAIN = ("generate", "--prompts", "a red circle", "--seeds", f"1..{COUNT}", "--steps", "8")
COMMAND = [*PLAIN, "--combine", "product", "--width", "64", "--height", "64"]

#: Three runs of one process; before the last, the head of its cluster is killed.
STANDING = """
import json, os, signal, sys
from pathlib import Path

os.environ.update(BATCH_SDXL_RAY_WORKERS="1", BATCH_SDXL_RAY_CPUS="1")
from batch_sdxl.cluster import head
from batch_sdxl.cluster.standing import StandingWorkers
from batch_sdxl.core import ImageRequest, load_model
from batch_sdxl.host.engine_settings import EngineSettings

workers, model = StandingWorkers(), load_model(sys.argv[1], device="cpu", dtype="fp32")


def run():
    told = []
    engine = workers.engine(
        model, EngineSettings(), tell=told.append, check=lambda: None
    )
    requests = [ImageRequest(prompt="p", seed=seed, num_inference_steps=2) for seed in range(2)]
    made = {image.index: image.pixels.sum().item() for image in engine.generate(requests)}
    print(json.dumps({"told": told, "images": made}), flush=True)


run()
run()
for task in Path("/proc/self/task").iterdir():
    for child in (task / "children").read_text().split():
        if b"gcs_server" in Path("/proc", child, "cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
head.LOST = 3.0
run()
workers._cluster.__exit__(None, None, None)
"""

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_a_command_that_is_killed_goes_on_with_other_workers(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "store"))
    output = tmp_path / "out"
    address = ray.get_runtime_context().gcs_address
    options = [*COMMAND, "--output", str(output), "--ray-cpus", "1"]
    job = subprocess.Popen(
        [*PROCESS, *options, "--ray", address, "--ray-workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while len(files(output)) < 2 and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    _, said = job.communicate()
    there = files(output)
    assert 2 <= len(there) < COUNT, said.decode()
    assert main([*options, "--ray", "--ray-workers", "1", "--json"]) == 0
    shown = capfd.readouterr()
    assert "images from earlier runs" in shown.err
    assert len(json.loads(shown.out)["files"]) == COUNT
    # The files are those of one machine, to the byte.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main([*COMMAND, "--output", str(tmp_path / "one"), "--no-store"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert files(output) == files(tmp_path / "one")
    assert there.items() <= files(output).items()


def test_the_cluster_is_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--ray-workers", "2"]) == 1
    assert "--ray with --ray-workers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*COMMAND, "--ray", "--ray-workers", "0"])


def test_a_node_may_ask_for_all_devices(local_ray: None, tmp_path: Path, capsys: Any) -> None:
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("LoadSDXL", {"model_name": "demo", "dtype": "fp32"}),
        "2": ("PromptList", {"text": "a red circle", "negative_prompt": ""}),
        "3": ("SeedList", {"seeds": "1"}),
        "4": ("BatchGenerate", {"model": ["1", 0], "prompts": ["2", 0], "seeds": ["3", 0]}),
        "5": ("SaveImageBatch", {"images": ["4", 0], "rows": ["4", 1], "filename_prefix": "a"}),
    }
    values = {"width": 64, "height": 64, "steps": 2, "cfg": 3.0, "strength": 1.0, "combine": "zip"}
    nodes["4"][1].update(values, sampler_name="euler", scheduler="normal", devices="all")
    graph = {
        key: {"class_type": f"BatchSDXL_{name}", "inputs": inputs}
        for key, (name, inputs) in nodes.items()
    }
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    command = ["run", str(tmp_path / "graph.json"), "--output", str(tmp_path / "out"), "--no-store"]
    assert main(command) == 0
    assert "1 image, " in (said := capsys.readouterr().err)
    assert "by 1 worker: worker 1 on" in said
    assert len(files(tmp_path / "out")) == 1


def test_standing_workers_are_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = StandingWorkers()
    with pytest.raises(InvalidRequest, match="one of another program, object"):
        workers.engine(object(), EngineSettings(), tell=print, check=print)  # type: ignore[arg-type]
    workers.check()
    monkeypatch.setenv("BATCH_SDXL_RAY_CPUS", "0")
    with pytest.raises(InvalidRequest, match="a number from 1 in BATCH_SDXL_RAY_CPUS, got '0'"):
        workers.check()


def test_a_model_needs_no_memory_here(local_ray: None, tiny_folder: Path) -> None:
    with RayCluster(Options(workers=1, cpus=1), print) as cluster:
        model = load_model(tiny_folder, **cluster.placement())
        parts = (model.unet, model.vae, *model.text_encoders)
        assert all(weight.is_meta for part in parts for weight in part.parameters())


@pytest.mark.slow
def test_machines_come_and_go(
    faults: None, tiny_folder: Path, requests: list[ImageRequest], expected: Any
) -> None:
    from ray.cluster_utils import Cluster

    ray.shutdown()
    small = {"object_store_memory": 80 * 10**6, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    inject(slow="all")
    told: list[str] = []
    second, left, made = None, False, {}
    try:
        with RayCluster(Options(cpus=1), told.append, kind=Faulty) as cluster:
            engine = cluster.engine(load_model(tiny_folder, dtype="fp32", **cluster.placement()))
            cluster.crew(engine.model)._looked = time.monotonic() - 5
            many = requests * 6
            for image in engine.generate(many):
                assert image.index not in made
                made[image.index] = told_of(image)
                if second is None:
                    second = nodes.add_node(num_cpus=1, object_store_memory=80 * 10**6)
                elif not left and {n for n, what, *_ in notes() if what == "made"} == {1, 2}:
                    nodes.remove_node(second, allow_graceful=False)
                    left = True
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert left
    assert any("is lost and started again" in line for line in told)
    assert made == {index: expected[index % len(requests)] for index in range(len(many))}


def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [*PROCESS, *COMMAND, "--output", str(tmp_path), "--ray", address]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert ended.returncode == 1
    assert f"Expected: a Ray cluster at {address}" in ended.stderr


def test_standing_workers_stay_and_outlive_the_loss_of_their_cluster(
    tmp_path: Path, tiny_folder: Path
) -> None:
    script = tmp_path / "standing.py"
    script.write_text(STANDING)
    ended = subprocess.run(
        [sys.executable, str(script), str(tiny_folder)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    first, second, anew = (json.loads(line) for line in ended.stdout.splitlines())
    assert first["told"][0] == anew["told"][0] == "Ray starts."
    assert not any("Ray starts" in line or "loads" in line for line in second["told"])
    assert first["images"] == second["images"] == anew["images"]
