"""What this machine can run, and how: the report of `batch-sdxl doctor`.

Nothing here may fail: what is broken is what the report is for.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...core.errors import BatchSDXLError

if TYPE_CHECKING:
    import torch

    from ...core.models.checkpoint import Checkpoint
    from ...core.models.folder import DiffusersFolder
    from ...core.models.footprint import Footprint

Json = dict[str, Any]
T = TypeVar("T")

PACKAGES = ("batch-sdxl", "torch", "diffusers", "transformers", "accelerate")

#: Width and height of images that people make, in pixels.
SIZES = ((512, 512), (768, 768), (1024, 1024), (1152, 896), (1536, 1536), (2048, 2048))

#: Bytes that are left to drivers, kernels and libraries, which are not in the figures.
RESERVE = 10**9

#: Tiles to propose where the VAE needs more than there is, in pixels.
TILE = 512


class _Model(NamedTuple):
    """What is to be run; without path and source, SDXL as it was published."""

    name: str
    path: Path | None
    source: Checkpoint | DiffusersFolder | None


def examine(model: str | None, dtype: str, size: tuple[int, int] | None) -> Json:
    """The report, in plain values; sizes of memory in bytes.

    Args:
        model: as `load_model` takes it; None for the figures of SDXL itself.
        dtype: `auto`, `fp32`, `fp16` or `bf16`.
        size: width and height of the images in question; None for the model's own.

    Returns:
        `possible`, whether a run is; `problems`, what stands in its way; and `device`, `precision`,
        `model`, `sizes`, `attention`, `determinism`, `versions`, `folders`, None where unknown.
    """
    problems: list[str] = []

    def ask(question: Callable[..., T], *given: Any) -> T | None:
        """The answer to a question, if there is one and all that it needs is known."""
        if any(part is None for part in given):
            return None
        try:
            return question(*given)
        except Exception as error:
            problems.append(_said(error))
            return None

    place = ask(_place)
    chosen = ask(_open, model or "", ask(_packages))
    device = ask(_device, place)
    precision = ask(_precision, dtype, place)
    needs = ask(_footprints, chosen, precision, place)
    native = ask(_native_size, chosen)
    asked = size or (native and (native, native))
    sizes = ask(_sizes, needs, place, device, asked)
    if sizes and any(entry["asked"] and entry["fits_with"] is None for entry in sizes):
        problems.append("Memory is too small for that size. Free some, or choose a smaller size.")
    return {
        "possible": not problems,
        "problems": list(dict.fromkeys(problems)),
        "device": device,
        "precision": precision,
        "model": ask(_weights, chosen, needs, native),
        "sizes": sizes,
        "attention": "sdpa",
        "determinism": ask(_determinism, place),
        "versions": _versions(),
        "folders": ask(_folders, chosen or _Model("", None, None)),
    }


def _said(error: Exception) -> str:
    if isinstance(error, BatchSDXLError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is missing. Install it: pip install {error.name}"
    return f"{type(error).__name__}: {error}"


def _place() -> torch.device:
    from ...core.models.load import default_device

    return default_device()


def _device(place: torch.device) -> Json:
    import torch

    from ...core.numerics import device_class

    if place.type == "cuda":
        free, total = torch.cuda.mem_get_info(place)
        return {"name": device_class(place), "memory": total, "free": free}
    import psutil  # type: ignore[import-untyped]  # accelerate needs it, and so has brought it

    memory = psutil.virtual_memory()
    return {
        "name": device_class(place),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": memory.total,
        "free": memory.available,
    }


def _packages() -> bool:
    from ...core.packages import check_packages

    check_packages()
    return True


def _open(name: str, ready: bool) -> _Model:  # noqa: ARG001 - makes it wait for packages
    if not name:
        return _Model("SDXL", None, None)
    from huggingface_hub import constants

    from ...core.models.hub import find_cached, is_name
    from ...core.models.load import find_model, open_model

    here = Path(name).exists() or not is_name(name) or find_cached(name)
    if not here and not constants.HF_HUB_OFFLINE:
        return _Model(f"{name} of the hub, which is not on this machine; as SDXL", None, None)
    path = find_model(name)
    return _Model(Path(name).name, path, open_model(path))


def _precision(asked: str, place: torch.device) -> Json:
    from ...core.models.load import auto_dtype, dtype_word

    dtype, reason = auto_dtype(place)
    if asked != "auto":
        return {"dtype": asked, "why": "asked for"}
    return {"dtype": dtype_word(dtype), "why": reason}


def _footprints(model: _Model, precision: Json, place: torch.device) -> dict[str, Footprint]:
    """In the precision that it would have, and in half of it if that is fp32."""
    from ...core.models.footprint import footprint
    from ...core.models.load import torch_dtype

    half = "fp16" if place.type == "cuda" else "bf16"
    names = [precision["dtype"], *([half] if precision["dtype"] == "fp32" else [])]
    return {name: footprint(model.source, torch_dtype(name)) for name in names}


def _native_size(model: _Model) -> int:
    from ...core.models.sdxl_config import UNET
    from ...core.request.size import PIXELS_PER_LATENT

    config = UNET if model.source is None else model.source.skeleton("unet").config
    return int(config["sample_size"]) * PIXELS_PER_LATENT


def _weights(model: _Model, needs: dict[str, Footprint], native: int) -> Json:
    from ...core.models.load import dtype_word

    (footprint, *_) = needs.values()
    return {
        "name": model.name,
        "native_size": native,
        "has_vae": model.source is None or model.source.has_vae,
        "unet": footprint.unet,
        "text_encoders": footprint.text_encoders,
        "vae": footprint.vae,
        "vae_dtype": dtype_word(footprint.vae_dtype),
    }


def _sizes(
    needs: dict[str, Footprint], place: torch.device, device: Json, asked: tuple[int, int]
) -> list[Json]:
    """Geometry and peak of each size, and what to set so that it fits."""
    from ...core.numerics import Geometry

    offloads = (False, True) if place.type == "cuda" else (False,)
    first, *_ = needs
    unet = needs[first].unet
    entries = []
    for width, height in sorted({*SIZES, asked}, key=lambda size: size[0] * size[1]):
        usual = Geometry.for_size(place, unet, width, height)
        ways: list[tuple[Json, int]] = []
        # From what changes least to what changes most: speed, seams, all bits.
        for dtype, footprint in needs.items():
            for tile in (None, TILE):
                for offload in offloads:
                    changed: Json = {"dtype": dtype} if dtype != first else {}
                    changed |= {"offload": True} if offload else {}
                    changed |= {"vae_tile": tile} if tile else {}
                    geometry = replace(usual, vae_tile=tile)
                    ways.append((changed, footprint.peak(width, height, geometry, offload=offload)))
        fitting = [changed for changed, peak in ways if peak <= device["free"] - RESERVE]
        entries.append(
            {
                "width": width,
                "height": height,
                "asked": (width, height) == asked,
                "rows": usual.rows,
                "vae_tile": usual.vae_tile,
                "peak": ways[0][1],
                "peak_with_offload": ways[1][1] if len(offloads) > 1 else None,
                "fits_with": fitting[0] if fitting else None,
            }
        )
    return entries


def _determinism(place: torch.device) -> Json:
    """The flags as they are within the engine's calls."""
    import torch

    from ...core.pinning import pinned

    if place.type != "cuda":
        return {}
    with pinned(place):
        return {
            "cudnn.deterministic": torch.backends.cudnn.deterministic,
            "cudnn.benchmark": torch.backends.cudnn.benchmark,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        }


def _versions() -> Json:
    found: Json = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _folders(model: _Model) -> Json:
    """Where models and CLIP's tokenizer are found; a diffusers folder brings its own."""
    from huggingface_hub import constants

    from ...core.models.tokenizer_files import find_tokenizer

    tokenizer = model.path
    if model.path is None or model.path.is_file():
        beside = [model.path.parent, model.path.parent / "tokenizer"] if model.path else []
        tokenizer = find_tokenizer(beside)
    return {
        "hugging_face_cache": str(constants.HF_HUB_CACHE),
        "offline": bool(constants.HF_HUB_OFFLINE),
        "tokenizer": str(tokenizer) if tokenizer else None,
    }
