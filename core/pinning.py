"""Settings of the process that change bits: as we need them while we compute, then as they were."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch

#: Most of what is pinned belongs to the process, and some parts of a model are changed for a call:
#: so threads take turns.
_turn = threading.RLock()

_CPU = torch.device("cpu")


class _Setting(NamedTuple):
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    value: Any


class _Products(NamedTuple):
    """How products of fp32 are made, which may be in less.

    Torch has one word for several libraries, and since 2.9 one for each operation of each, which
    the first sets too. Neither can be put back without the other.
    """

    read_word: Callable[[], Any]
    write_word: Callable[[Any], Any]
    exact_word: Any
    operations: tuple[tuple[str, str], ...]

    @property
    def exact(self) -> tuple[Any, ...]:
        """The words of products made in no less."""
        return (self.exact_word, *("ieee" for _ in self.operations))

    def read(self) -> tuple[Any, ...]:
        """The one word, then those of the operations."""
        try:
            word = self.read_word()
        except RuntimeError:  # one word can't say what the operations' own do
            word = None
        own = (torch._C._get_fp32_precision_getter(*operation) for operation in self.operations)
        return word, *own

    def write(self, words: tuple[Any, ...]) -> None:
        """Put back what was read."""
        if words[0] is not None:
            self.write_word(words[0])
        for operation, word in zip(self.operations, words[1:], strict=True):
            torch._C._set_fp32_precision_setter(*operation, word)

    def setting(self) -> _Setting:
        """That they are made in no less."""

        def read() -> tuple[Any, ...]:
            word, *own = found = self.read()
            is_exact = word in (self.exact_word, None) and all(w in ("ieee", "none") for w in own)
            return self.exact if is_exact else found

        return _Setting(read, self.write, self.exact)


_HAS_WORDS = hasattr(torch._C, "_get_fp32_precision_getter")
_MATMUL = _Products(
    torch.get_float32_matmul_precision,
    torch.set_float32_matmul_precision,
    "highest",
    (("mkldnn", "matmul"), ("mkldnn", "conv"), ("cuda", "matmul")) if _HAS_WORDS else (),
)
_CUDNN = _Products(
    torch._C._get_cudnn_allow_tf32,
    torch._C._set_cudnn_allow_tf32,
    False,
    (("cuda", "conv"), ("cuda", "rnn")) if _HAS_WORDS else (),
)


@contextmanager
def pinned(device: torch.device) -> Iterator[None]:
    """Within the block, nothing that a program has set in torch changes bits of what we compute.

    All that we compute is in one, in inference mode. It takes some microseconds, and may lie in
    another. One thread at a time is in it, so nothing is handed to a caller within.

    Args:
        device: that the model runs on. CUDA's own settings are left alone for others.
    """
    with _turn:
        settings = _settings(device.type)
        changed: list[tuple[Callable[[Any], Any], Any]] = []
        try:
            for read, write, value in settings:
                if (found := read()) != value:
                    write(value)
                    changed.append((write, found))
            with torch.inference_mode(), _CPU if _is_elsewhere() else nullcontext():
                yield
        finally:
            for write, found in reversed(changed):
                write(found)


@contextmanager
def tf32() -> Iterator[None]:
    """Within the block, which lies in one of `pinned`, CUDA multiplies numbers of fp32 in TF32.

    That is with ten bits behind the point, as fp16 has, and in a fraction of the time. Nothing may
    be `pinned` within.
    """
    before = [(products, products.read()) for products in (_MATMUL, _CUDNN)]
    try:
        for products, word in ((_MATMUL, "high"), (_CUDNN, True)):
            own = ("tf32" if kind == "cuda" else "ieee" for kind, _ in products.operations)
            products.write((word, *own))
        yield
    finally:
        for products, words in before:
            products.write(words)


def _is_elsewhere() -> bool:
    """Whether new tensors go to another device; torch keeps that in a mode, if it is in any."""
    modes = torch._C._len_torch_function_stack()
    return bool(modes) and torch.get_default_device().type != "cpu"


def _settings(kind: str) -> list[_Setting]:
    """Those for a kind of device, in the order to set them in."""
    if kind not in _known:
        _known[kind] = [
            *_general(),
            *_autocast("cpu"),
            *(_autocast(kind) if kind != "cpu" else ()),
            *(_cuda() if kind == "cuda" else ()),
        ]
    return _known[kind]


_known: dict[str, list[_Setting]] = {}


def _general() -> Iterator[_Setting]:
    cuda, backends = torch.backends.cuda, torch.backends
    yield _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32)
    yield _Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0)
    yield _Setting(_flushes_denormals, torch.set_flush_denormal, False)
    yield from _attribute(backends.mkldnn, "enabled", True)
    yield from _attribute(backends.mkldnn, "deterministic", False)
    yield _Setting(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, True)
    yield _MATMUL.setting()
    yield _Setting(cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True)
    yield _Setting(cuda.math_sdp_enabled, cuda.enable_math_sdp, True)
    yield _Setting(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True)


def _cuda() -> Iterator[_Setting]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    yield _Setting(cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, True)
    if hasattr(cuda, "allow_fp16_bf16_reduction_math_sdp"):
        yield _Setting(
            cuda.fp16_bf16_reduction_math_sdp_allowed,
            cuda.allow_fp16_bf16_reduction_math_sdp,
            False,
        )
    # Flash, memory efficient, math, cuDNN: numbers of torch.nn.attention.SDPBackend.
    if hasattr(torch._C, "_get_sdp_priority_order"):
        order = [1, 2, 0, 3]
        yield _Setting(
            lambda: [backend for backend in torch._C._get_sdp_priority_order() if backend in order],
            torch._C._set_sdp_priority_order,
            order,
        )
    yield from _attribute(cudnn, "enabled", True)
    yield from _attribute(cudnn, "benchmark", False)
    yield from _attribute(cudnn, "deterministic", True)
    yield _CUDNN.setting()
    yield from _attribute(cuda.matmul, "allow_fp16_accumulation", False)
    yield _reduction("allow_fp16_reduced_precision_reduction")
    yield _reduction("allow_bf16_reduced_precision_reduction")


def _attribute(owner: Any, name: str, value: Any) -> Iterator[_Setting]:
    """One that is an attribute; none where this torch has not got it."""
    if hasattr(owner, name):
        yield _Setting(partial(getattr, owner, name), partial(setattr, owner, name), value)


def _reduction(name: str) -> _Setting:
    """Whether sums of half precision are made in it; newer torch says two things of it in one."""
    matmul = torch.backends.cuda.matmul
    write = partial(setattr, matmul, name)
    if not hasattr(matmul, split := f"{name}_split_k"):
        return _Setting(partial(getattr, matmul, name), write, False)
    return _Setting(lambda: (getattr(matmul, name), getattr(matmul, split)), write, (False, True))


def _autocast(kind: str) -> Iterator[_Setting]:
    yield _Setting(
        partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind), False
    )


#: The smallest number of Python's that is not denormal.
_LEAST = sys.float_info.min


def _flushes_denormals() -> bool:
    """Whether this thread takes the smallest numbers for zero; torch has no word for it."""
    return _LEAST / 2 == 0
