"""Whatever a program has set in torch: equal numerics give equal bits, and its settings stay."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model, numerics
from batch_sdxl.core.engine import diffusers_backend
from batch_sdxl.core.models.attention import attention_of
from batch_sdxl.core.numerics import fingerprint, vae_products
from batch_sdxl.core.pinning import pinned
from torch.nn.attention import SDPBackend, sdpa_kernel

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
REQUESTS = [
    ImageRequest(
        prompt="a (red:1.2) circle",
        seed=1,
        variation_seed=2,
        variation_strength=0.5,
        num_inference_steps=2,
        guidance_rescale=0.5,
        scheduler="dpmpp_2m_sde:karras",
    ),
    ImageRequest(prompt="blue", seed=3, num_inference_steps=3, strength=0.7, image=NOISE),
]


@contextmanager
def setting(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """What a host does for good, undone for the next test."""
    before = read()
    write(value)
    try:
        yield
        assert read() == value, "not put back"
    finally:
        write(before)


def attribute(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    return setting(lambda: getattr(owner, name), lambda v: setattr(owner, name, v), value)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
        assert torch.zeros(1).item() == 2.0**-1022 / 2
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def another_attention() -> Iterator[None]:
    own = torch.nn.functional.scaled_dot_product_attention

    def attend(*args: Any, **kwargs: Any) -> torch.Tensor:
        return own(*args, **kwargs) * (1 + 1e-6)

    torch.nn.functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = own


def precision(library: str, operation: str, value: str) -> AbstractContextManager[None]:
    owner = getattr(getattr(torch.backends, library), operation)
    return attribute(owner, "fp32_precision", value)


backends, cuda = torch.backends, torch.backends.cuda
FOREIGN: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "attention by plain products": lambda: sdpa_kernel(SDPBackend.MATH),
    "no flash attention": lambda: setting(cuda.flash_sdp_enabled, cuda.enable_flash_sdp, False),
    "another attention": another_attention,
    "no oneDNN": lambda: attribute(backends.mkldnn, "enabled", False),
    "deterministic oneDNN": lambda: attribute(backends.mkldnn, "deterministic", True),
    "no NNPACK": lambda: backends.nnpack.flags(enabled=False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: setting(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: setting(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "coarse products": lambda: setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "coarse products of oneDNN": lambda: precision("mkldnn", "matmul", "bf16"),
    "coarse convolutions of oneDNN": lambda: precision("mkldnn", "conv", "bf16"),
    "coarse products of CUDA": lambda: attribute(cuda.matmul, "allow_tf32", True),
    "coarse convolutions of CUDA": lambda: precision("cudnn", "conv", "tf32"),
    "fine convolutions of CUDA": lambda: precision("cudnn", "conv", "ieee"),
    "fp16 accumulation": lambda: attribute(cuda.matmul, "allow_fp16_accumulation", True),
    "deterministic algorithms": lambda: setting(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 2
    ),
    "denormals": flushed_denormals,
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
}


def bits(engine: Engine) -> list[tuple[str, bytes]]:
    images = sorted(engine.generate(REQUESTS), key=lambda image: image.index)
    return [(image.record.identity, image.decoded.numpy().tobytes()) for image in images]


OPERATIONS = [(kind, name) for kind in ("cuda", "mkldnn") for name in ("conv", "rnn", "matmul")]


def precisions() -> list[Any]:
    """Torch's words for precisions, those of the operations last."""
    words = [torch.get_float32_matmul_precision(), torch._C._get_cudnn_allow_tf32()]
    own = [torch._C._get_fp32_precision_getter(*operation) for operation in OPERATIONS]
    return [*words, *own]


@pytest.fixture(autouse=True)
def _precisions() -> Iterator[None]:
    """Torch's old words for precisions leave its new ones other than they were."""
    product, convolution, *before = precisions()
    yield
    torch.set_float32_matmul_precision(product)
    torch._C._set_cudnn_allow_tf32(convolution)
    for operation, own in zip(OPERATIONS, before, strict=True):
        torch._C._set_fp32_precision_setter(*operation, own)


@pytest.fixture(scope="module")
def undisturbed(tiny: Model) -> list[tuple[str, bytes]]:
    return bits(Engine(tiny))


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_program_set_changes_no_bit_or_the_identity(
    name: str, tiny: Model, undisturbed: list[tuple[str, bytes]]
) -> None:
    with FOREIGN[name]():
        found = bits(Engine(tiny))
    if name == "another attention":
        assert not {identity for identity, _ in found} & {identity for identity, _ in undisturbed}
    else:
        assert found == undisturbed
    assert bits(Engine(tiny)) == undisturbed


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("name", FOREIGN)
def test_settings_stay_when_a_computation_fails(name: str, kind: str) -> None:
    with FOREIGN[name](), pytest.raises(ZeroDivisionError), pinned(torch.device(kind)):
        raise ZeroDivisionError


def coarse() -> list[bool]:
    """Whether CUDA's products and convolutions are made in TF32 now."""
    return [cuda.matmul.allow_tf32, torch._C._get_cudnn_allow_tf32()]


@pytest.mark.parametrize(
    ("dtype", "vae_dtype", "word"),
    [
        (torch.float16, torch.float32, "tf32"),
        (torch.bfloat16, torch.float32, "tf32"),
        (torch.float32, torch.float32, "float32"),
        (torch.bfloat16, torch.bfloat16, "bfloat16"),
    ],
)
def test_a_vae_in_fp32_beside_half_precision_takes_tf32_on_cuda_and_says_so(
    dtype: torch.dtype, vae_dtype: torch.dtype, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = torch.device("cuda")
    with pinned(gpu):
        with vae_products(gpu, dtype, vae_dtype):
            assert coarse() == [word == "tf32"] * 2
        assert coarse() == [False, False]
        with pytest.raises(KeyError), vae_products(gpu, dtype, vae_dtype):
            raise KeyError
        assert coarse() == [False, False]
    monkeypatch.setattr(numerics, "device_class", lambda device: "cuda")
    assert fingerprint(gpu, dtype, vae_dtype, Geometry(8), "sdpa")["vae_dtype"] == word
    cpu = torch.device("cpu")
    with vae_products(cpu, dtype, vae_dtype):
        assert coarse() != [True, True]
    assert fingerprint(cpu, dtype, vae_dtype, Geometry(8), "sdpa")["vae_dtype"] != "tf32"


@pytest.mark.parametrize("word", ["highest", "high"])
def test_settings_stay_where_a_vae_takes_tf32(word: str) -> None:
    torch.set_float32_matmul_precision(word)
    for kind in ("cuda", "mkldnn"):  # as of a program that has set none
        torch._C._set_fp32_precision_setter(kind, "matmul", "none")
    gpu = torch.device("cuda")
    before = precisions()
    with pinned(gpu), vae_products(gpu, torch.float16, torch.float32):
        assert coarse() == [True, True]
    assert precisions() == before
    with pytest.raises(KeyError), pinned(gpu), vae_products(gpu, torch.float16, torch.float32):
        raise KeyError
    assert precisions() == before


def test_what_libraries_read_of_the_environment_is_in_the_identity(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tiny)
    (request,) = [engine.with_size(request) for request in REQUESTS[:1]]
    monkeypatch.delenv("MKL_CBWR", raising=False)
    before = engine.describe(request)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    after = engine.describe(request)
    assert after.numerics["environment"].startswith("MKL_CBWR=COMPATIBLE")
    assert after.identity != before.identity


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read off the parts of a model, each time that it was."""
    readings = []

    def read(*parts: Any) -> str:
        readings.append(attention_of(*parts))
        return readings[-1]

    monkeypatch.setattr(diffusers_backend, "attention_of", read)
    return readings


def test_many_requests_are_described_by_one_reading_of_the_model(
    tiny: Model, readings: list[str]
) -> None:
    engine = Engine(tiny)
    sizes = [ImageRequest(prompt="a", seed=n, width=64 + 8 * (n % 2)) for n in range(4)]
    requests = [engine.with_size(request) for request in [*REQUESTS, *sizes]]
    records = engine.describe_each(requests)
    assert readings == ["sdpa"]
    assert records == [engine.describe(request) for request in requests]
    assert [image.record for image in engine.generate(requests[:1])] == records[:1]


def test_each_run_reads_the_model_anew_and_only_once(tiny: Model, readings: list[str]) -> None:
    engine = Engine(tiny)
    requests = [ImageRequest(prompt="a", seed=n, num_inference_steps=1) for n in range(9)]
    list(engine.generate(requests))
    assert readings == ["sdpa"]
    with another_attention():
        (image,) = engine.generate(requests[:1])
    assert image.record.numerics["attention"] != "sdpa"


def test_threads_that_change_within_a_run_are_seen(tiny: Model) -> None:
    threads = torch.get_num_threads()
    requests = [ImageRequest(prompt="a", seed=1, num_inference_steps=n) for n in (1, 2)]
    images = Engine(tiny).generate(requests)
    try:
        assert next(images).record.numerics["threads"] == threads
        torch.set_num_threads(threads + 1)
        assert next(images).record.numerics["threads"] == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_threads_take_turns() -> None:
    inside, most = 0, 0

    def compute() -> None:
        nonlocal inside, most
        for _ in range(50):
            with pinned(torch.device("cpu")), pinned(torch.device("cpu")):
                inside += 1
                most = max(most, inside)
                torch.ones(8).sum()
                inside -= 1

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
