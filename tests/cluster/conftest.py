"""A Ray on this machine, and clusters of faulty workers on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from batch_sdxl.cluster.cluster import Options, RayCluster
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model, load_model
from batch_sdxl.core.errors import FailedImage
from batch_sdxl.tests.cluster.faulty import FOLDER, Faulty, inject

#: Pixels with latents, and record of each image, by its place.
Images = dict[int, tuple[bytes, str]]


def told_of(image: GeneratedImage) -> tuple[bytes, str]:
    """An entry of `Images`."""
    return image.pixels.tobytes() + image.latents.numpy().tobytes(), image.record.to_json()


START = {"object_store_memory": 200 * 10**6, "include_dashboard": False, "log_to_driver": False}


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("faults")))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.fixture(scope="session")
def local_ray(faults: None) -> Iterator[None]:
    """Small; as many CPUs as workers ask for, whatever the machine has."""
    ray.init(address="local", num_cpus=3, logging_level="ERROR", **START)
    yield
    ray.shutdown()


class Run:
    """A cluster of workers on the tiny model, and what the person was told."""

    def __init__(self, folder: Path, cluster: RayCluster, told: list[str]) -> None:
        model = load_model(folder, dtype="fp32", **cluster.placement())
        self.engine = cluster.engine(model)
        self.told = told
        self.failed: dict[int, FailedImage] = {}

    def make(self, requests: list[ImageRequest], **how: Any) -> Images:
        """All images; none may come twice."""
        made: Images = {}
        for image in self.engine.generate(requests, on_failure=self._fail, **how):
            assert image.index not in made
            made[image.index] = told_of(image)
        return made

    def says(self, text: str) -> bool:
        return any(text in line for line in self.told)

    def _fail(self, index: int, error: FailedImage) -> None:
        self.failed[index] = error


Start = Callable[..., Any]


@pytest.fixture
def start(local_ray: None, tiny_folder: Path) -> Start:
    """Opens a `Run`, with faults: `with start(kill_once=1) as run`."""

    @contextmanager
    def opened(options: Options | None = None, **faults: Any) -> Iterator[Run]:
        inject(**faults)
        told: list[str] = []
        chosen = options or Options(workers=2, cpus=1)
        with RayCluster(chosen, told.append, kind=Faulty) as cluster:
            yield Run(tiny_folder, cluster, told)

    return opened


@pytest.fixture(scope="module")
def shared(local_ray: None, tiny_folder: Path) -> Iterator[Run]:
    """Two workers for those tests that leave two behind, since they take seconds to start."""
    inject()
    told: list[str] = []
    options = Options(workers=2, cpus=1)
    with RayCluster(options, told.append, kind=Faulty, silence=3.0) as cluster:
        yield Run(tiny_folder, cluster, told)


@pytest.fixture(scope="session")
def requests() -> list[ImageRequest]:
    """Two sizes, with guidance and without, some from latents."""
    draw = np.random.default_rng(0)
    return [
        ImageRequest(
            prompt=f"picture {seed}",
            seed=seed,
            num_inference_steps=3,
            guidance_scale=1.0 if seed % 3 == 0 else 5.0,
            height=64 if seed < 12 else 72,
            latents=draw.standard_normal((4, 8 if seed < 12 else 9, 8)) if seed % 5 == 0 else None,
        )
        for seed in range(20)
    ]


@pytest.fixture(scope="session")
def expected(tiny_folder: Path, requests: list[ImageRequest]) -> Images:
    """Those of one process, of as many threads as a worker has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model: Model = load_model(tiny_folder, device="cpu", dtype="fp32")
        return {image.index: told_of(image) for image in Engine(model).generate(requests)}
    finally:
        torch.set_num_threads(threads)
