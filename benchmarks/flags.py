"""Settings of torch that can change bits or speed on a GPU, each for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from batch_sdxl.core.pinning import pinned
from torch.nn.attention import SDPBackend, sdpa_kernel

Setting = Callable[[torch.device], AbstractContextManager[Any]]


@contextmanager
def attributes(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of a module of flags, put back afterwards."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def _with(device: torch.device, *others: AbstractContextManager[Any]) -> Iterator[None]:
    """The engine's flags, and others within them."""
    with ExitStack() as stack:
        for context in (pinned(device), *others):
            stack.enter_context(context)
        yield


@contextmanager
def _as_torch_is(device: torch.device) -> Iterator[None]:
    yield


@contextmanager
def _cublaslt() -> Iterator[None]:
    before = torch.backends.cuda.preferred_blas_library()
    torch.backends.cuda.preferred_blas_library("cublaslt")
    try:
        yield
    finally:
        torch.backends.cuda.preferred_blas_library(before)


@contextmanager
def _only_deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _reduction(**values: Any) -> AbstractContextManager[None]:
    return attributes(torch.backends.cuda.matmul, **values)


@contextmanager
def _no_split_k() -> Iterator[None]:
    """Torch takes a pair here, and gives one bool of it back."""
    names = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    matmul = torch.backends.cuda.matmul
    before = [getattr(matmul, name) for name in names]
    try:
        for name in names:
            setattr(matmul, name, (False, False))
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(matmul, name, value)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether fp32 may be multiplied with ten bits of fraction."""
    cudnn = torch.backends.cudnn
    with (
        cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=allowed),
        attributes(torch.backends.cuda.matmul, allow_tf32=allowed),
    ):
        yield


#: Name -> what it sets. The engine's own come first; all but torch's own are set on top of them.
SETTINGS: dict[str, Setting] = {
    "engine": lambda device: pinned(device),
    "torch's own": _as_torch_is,
    "cudnn.benchmark": lambda device: _with(
        device, attributes(torch.backends.cudnn, benchmark=True)
    ),
    "cudnn not deterministic": lambda device: _with(
        device, attributes(torch.backends.cudnn, deterministic=False)
    ),
    "no split-K": lambda device: _with(device, _no_split_k()),
    "no reduced-precision sums": lambda device: _with(
        device,
        _reduction(
            allow_fp16_reduced_precision_reduction=False,
            allow_bf16_reduced_precision_reduction=False,
        ),
    ),
    "reduced-precision sums": lambda device: _with(
        device,
        _reduction(
            allow_fp16_reduced_precision_reduction=True,
            allow_bf16_reduced_precision_reduction=True,
        ),
    ),
    "fp16 sums": lambda device: _with(device, _reduction(allow_fp16_accumulation=True)),
    "cuBLASLt": lambda device: _with(device, _cublaslt()),
    "SDPA flash": lambda device: _with(device, sdpa_kernel(SDPBackend.FLASH_ATTENTION)),
    "SDPA cuDNN": lambda device: _with(device, sdpa_kernel(SDPBackend.CUDNN_ATTENTION)),
    "SDPA memory-efficient": lambda device: _with(
        device, sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION)
    ),
    "no cuDNN": lambda device: _with(device, attributes(torch.backends.cudnn, enabled=False)),
    "deterministic algorithms": lambda device: _with(device, _only_deterministic()),
}
