"""A compiled UNet: whole graphs, full calls, and the promise; in most tests nothing is compiled."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import (
    Engine,
    GeneratedImage,
    Geometry,
    ImageRequest,
    Model,
    ModelSpec,
    load_model,
    save,
    verify,
)
from batch_sdxl.core.engine.denoiser import Denoiser
from batch_sdxl.core.errors import InvalidRequest, MissingPackage, UnsupportedModel
from batch_sdxl.core.models.compiled import CompiledUNet, check_compiler, compiler_of
from torch._inductor import config

CPU = torch.device("cpu")
ROWS = Geometry(4)
REQUESTS = [
    ImageRequest(prompt="a red circle", seed=1, num_inference_steps=2),
    ImageRequest(prompt="a blue square", seed=2, num_inference_steps=3, guidance_scale=1),
    ImageRequest(prompt="a cat", seed=3, num_inference_steps=1, scheduler="dpmpp_2m_sde"),
]


@pytest.fixture(scope="module")
def graphs() -> Iterator[list[int]]:
    """Takes whole graphs as the compiler does, and runs them as they are; numbers of rows."""
    rows: list[int] = []
    plain = torch.compile

    def take(graph: Any, inputs: list[Any]) -> Any:
        rows.append(next(len(x) for x in inputs if getattr(x, "shape", [0])[1:] == (4, 8, 8)))
        return graph

    def compiled(unet: Any, *, options: dict[str, Any], **how: Any) -> Any:
        assert options["deterministic"]
        return plain(unet, backend=take, **how)

    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compiled)
        yield rows
    torch._dynamo.reset()


@contextmanager
def no_compiler() -> Iterator[None]:
    with config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        yield


@pytest.fixture
def compiled(tiny_folder: Path) -> Model:
    return load_model(tiny_folder, device="cpu", dtype="fp32", compiled=True)


def render(model: Model, requests: list[ImageRequest]) -> list[GeneratedImage]:
    images = Engine(model, geometry=ROWS).generate(requests)
    return sorted(images, key=lambda image: image.index)


def test_it_is_taken_whole_once_a_shape(
    compiled: Model, tiny: Model, graphs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    together = render(compiled, REQUESTS)
    for request, image in zip(REQUESTS, together, strict=True):
        (alone,) = render(compiled, [request])
        assert torch.equal(alone.latents, image.latents)
        assert alone.record.identity == image.record.identity
    assert graphs == [4], "one geometry, in engine after engine"
    (said,) = {record.message for record in caplog.records if record.levelno >= logging.WARNING}
    assert said == "Compiling the UNet for images of 64 x 64: a minute or more, once."
    for image, plain in zip(together, render(tiny, REQUESTS), strict=True):
        # What isn't compiled rounds in other places; latents are of some 3 to 10.
        torch.testing.assert_close(image.latents, plain.latents, rtol=0, atol=2e-4)
        numerics = dict(image.record.numerics)
        assert numerics.pop("compiled").startswith("inductor ")
        assert numerics == plain.record.numerics
        assert image.record.identity != plain.record.identity
        assert image.record.model == plain.record.model


def test_a_record_is_followed(
    compiled: Model,
    graphs: list[int],
    tmp_path: Path,
) -> None:
    (image,) = render(compiled, REQUESTS[:1])
    file = save(image, tmp_path / "image.png")
    before = len(graphs)
    assert verify(file, model=compiled.spec.model).identical
    assert len(graphs) == before, "another model of the same shapes"
    with no_compiler(), pytest.raises(MissingPackage, match="no compiler"):
        verify(file, model=compiled.spec.model)


def test_more_shapes_than_torch_usually_has_room_for(graphs: list[int]) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, sample: torch.Tensor, **call: Any) -> tuple[torch.Tensor]:
            return (2 * sample,)

    unet, before = CompiledUNet(Doubled(), CPU), len(graphs)
    for rows in range(2, 14):
        sample = torch.ones(rows, 4, 8, 8)
        assert torch.equal(unet(sample=sample), 2 * sample)
    assert graphs[before:] == [*range(2, 14)]


def test_what_is_not_one_graph_is_refused(graphs: list[int]) -> None:
    class Torn(torch.nn.Module):
        def forward(self, sample: torch.Tensor, **call: Any) -> tuple[torch.Tensor]:
            torch._dynamo.graph_break()
            return (sample,)

    before = len(graphs)
    with pytest.raises(UnsupportedModel, match=r"whole.* Load it without `compiled`\.$"):
        CompiledUNet(Torn(), CPU)(sample=torch.ones(2, 4, 8, 8))
    assert len(graphs) == before


@pytest.mark.parametrize("count", [1, 3])
def test_calls_are_full(tiny: Model, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from .test_denoiser import some_rows

    sizes: list[int] = []

    def call(self: CompiledUNet, **call: Any) -> torch.Tensor:
        sizes.append(len(call["sample"]))
        assert call["encoder_hidden_states"].shape == (8, 77, 64)
        return torch.as_tensor(call["sample"])

    monkeypatch.setattr(CompiledUNet, "__call__", call)
    denoise = Denoiser(replace(tiny, spec=replace(tiny.spec, compiled=True)))
    assert len(denoise(some_rows(tiny, count), Geometry(8))) == count
    assert set(sizes) == {8}


def test_settings_of_the_compiler_are_part_of_its_name() -> None:
    name = compiler_of(CPU)
    assert len(name) < 100, "a value of a record"
    with config.patch(freezing=not config.freezing):
        assert compiler_of(CPU) != name


def test_what_cannot_be_compiled_is_refused_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidRequest, match="compiled or offloaded"):
        ModelSpec(compiled=True, offload=True)
    with pytest.raises(InvalidRequest, match="a CPU or CUDA"):
        check_compiler(torch.device("mps"))
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MissingPackage, match="pip install triton"):
        check_compiler(torch.device("cuda"))
    with no_compiler(), pytest.raises(MissingPackage, match=r"no compiler.* g\+\+"):
        load_model("demo", device="cpu", compiled=True)
    load_model("demo", device="cpu", home="meta", compiled=True)  # which is computed elsewhere


_SCRIPT = """
import sys, torch
from batch_sdxl.core import Engine, Geometry, load_model
from batch_sdxl.tests.test_compiled import REQUESTS
folder, out, order = sys.argv[1:]
engine = Engine(load_model(folder, device="cpu", dtype="fp32", compiled=True), geometry=Geometry(4))
runs = [[REQUESTS[int(place)] for place in run] for run in order.split(",")]
images = [image for run in runs for image in engine.generate(run)]
torch.save({image.request.seed: (image.latents, image.record.identity) for image in images}, out)
"""


@pytest.mark.slow
def test_the_promise_holds_compiled(tiny_folder: Path, tmp_path: Path) -> None:
    """In company; alone and in another order, in another process that compiles for itself."""
    made = []
    for order in ("012", "2,1,0,210"):
        out = tmp_path / f"{order}.pt"
        code = f"import os; os.environ['XDG_CACHE_HOME'] = {str(tmp_path / order)!r}\n{_SCRIPT}"
        subprocess.run([sys.executable, "-c", code, str(tiny_folder), str(out), order], check=True)
        assert any((tmp_path / order / "batch-sdxl" / "compiled").iterdir()), "kept for the next"
        made.append(torch.load(out))
    one, other = made
    for seed in (1, 2, 3):
        assert torch.equal(one[seed][0], other[seed][0])
        assert one[seed][1] == other[seed][1]
