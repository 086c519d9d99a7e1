"""What the bits of an image depend on beside its request and its model."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .pinning import pinned, tf32
from .request.record import check_calls

#: Largest image in pixels -> rows of one UNet call, by kind of device. A fixed rule, blind to free
#: memory, since that changes from run to run.
_ROWS = {
    "cpu": ((512**2, 8), (1024**2, 4)),
    "cuda": ((512**2, 16), (1024**2, 8), (1536**2, 4)),
}
#: On a CPU, calls of so many rows where those of fewer are so short that starting them counts: up
#: to this product of a UNet's bytes and an image's pixels.
_SHORT, _SHORT_ROWS = 2**40, 32


#: What libraries read of the environment, once, to choose their kernels.
_ENVIRONMENT = (
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
)


@cache
def package_versions(*names: str) -> Mapping[str, str]:
    """Of Python packages; part of every image's record, and milliseconds to read."""
    return {name: version(name) for name in names}


@dataclass(frozen=True)
class Geometry:
    """The fixed shapes of the engine's calls.

    Kernels are chosen by shape, so a row's bits hold only among calls of the same shape. Places
    that no image needs carry padding. Text encoders and VAE always take one row.

    Attributes:
        rows: of one UNet call, an even number of 2 to 256. A guided image needs two.
        vae_tile: width and height in pixels (a multiple of 64, 128 to 16384) of the tiles in which
            larger images go through the VAE, which saves memory and changes bits near the seams;
            None for whole images.

    Raises:
        InvalidRequest: a number is out of its range.
    """

    rows: int
    vae_tile: int | None = None

    def __post_init__(self) -> None:
        """Check both."""
        check_calls(self.rows, self.vae_tile)

    @classmethod
    def for_size(cls, device: torch.device, unet: int, width: int, height: int) -> Geometry:
        """The geometry that images of a size have on a kind of device.

        Args:
            device: of the kind.
            unet: bytes of the UNet's weights.
            width: of the images, in pixels.
            height: likewise.
        """
        if device.type == "cpu" and unet * width * height <= _SHORT:
            return cls(_SHORT_ROWS)
        rules = _ROWS.get(device.type, _ROWS["cuda"])
        return cls(next((rows for limit, rows in rules if width * height <= limit), 2))


def fingerprint(
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    geometry: Geometry,
    attention: str,
    libraries: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The numerics in plain values: where two are equal, equal requests give equal bits.

    What can be pinned is not in it (`pinning.py`).

    Args:
        device: that the model runs on.
        dtype: of its UNet and text encoders.
        vae_dtype: of its VAE.
        geometry: of the calls.
        attention: which implementation of it.
        libraries: versions of what computes; None for torch, diffusers and transformers.

    Returns:
        `device` (its class, not its number), `dtype` and `vae_dtype`, `rows`, `vae_tile` if there
        is one, `threads` (of a CPU, whose sums are split among them), `attention`, and the versions
        of the libraries; on CUDA those of `cudnn` and `cublas`.
        `environment` if variables are set that choose kernels, and `denormals` if threads of torch
        take the smallest numbers for zero.
    """
    on_cpu = device.type == "cpu"
    numerics: dict[str, Any] = {
        "device": device_class(device),
        "dtype": str(dtype).removeprefix("torch."),
        "vae_dtype": "tf32"
        if _vae_takes_tf32(device, dtype, vae_dtype)
        else str(vae_dtype).removeprefix("torch."),
        "rows": geometry.rows,
        "threads": torch.get_num_threads() if on_cpu else None,
        "attention": attention,
        **(libraries or package_versions("torch", "diffusers", "transformers")),
    }
    if geometry.vae_tile:
        numerics["vae_tile"] = geometry.vae_tile
    if chosen := [f"{name}={os.environ[name]}" for name in _ENVIRONMENT if os.environ.get(name)]:
        numerics["environment"] = " ".join(chosen)
    if _pool_flushes_denormals(threading.get_ident(), torch.get_num_threads()):
        numerics["denormals"] = "zero"
    return numerics if on_cpu else numerics | _cuda_libraries()


def vae_products(
    device: torch.device, dtype: torch.dtype, vae_dtype: torch.dtype
) -> AbstractContextManager[None]:
    """Around a call of the VAE: in TF32 where it has fp32 beside a UNet in half precision on CUDA.

    There fp32 is to keep it from overflowing, which TF32 does as well. Exact products would take a
    fifth to a third of the time of an image.

    Args: as of `fingerprint`.
    """
    return tf32() if _vae_takes_tf32(device, dtype, vae_dtype) else nullcontext()


def _vae_takes_tf32(device: torch.device, dtype: torch.dtype, vae_dtype: torch.dtype) -> bool:
    return device.type == "cuda" and dtype.itemsize == 2 and vae_dtype == torch.float32


@cache
def _pool_flushes_denormals(thread: int, size: int) -> bool:  # noqa: ARG001 - tells pools apart
    """Whether a thread of torch's pool does: each has a flag of its own, which none but it can set.

    Threads get it from the one that started them, so it matters what the process did before.

    Args:
        thread: that the pool belongs to, the current one.
        size: of the pool, the current one.
    """
    with pinned(torch.device("cpu")):
        # As many numbers as make torch use all its threads.
        return not bool(torch.full((size * 2**16,), 2.0**-140).mul(1.0).all())


def _cuda_libraries() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {}
    blas = torch.backends.cuda.preferred_blas_library()
    return {
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "cublas": f"{torch.version.cuda} {str(blas).rpartition('.')[2]}",
    }


def device_class(device: torch.device) -> str:
    """What devices that compute alike have in common."""
    if device.type != "cuda":
        capability = torch.backends.cpu.get_cpu_capability()
        return f"{device.type} {platform.machine()} {capability} {_processor()}".rstrip()
    properties = torch.cuda.get_device_properties(device)
    architecture = f"sm_{properties.major}{properties.minor}"
    # Libraries plan by the number of multiprocessors, which partitioned cards have fewer of.
    return f"cuda {properties.name} {architecture} {properties.multi_processor_count} SMs"


@cache
def _processor() -> str:
    """The CPU's model: by it, and its caches, libraries choose kernels and parts of a matrix."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
