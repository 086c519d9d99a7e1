"""The VAE: which one, in which precision, and images through it, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import FailedImage, ModelNotFound
from ..numerics import vae_products
from ..pinning import pinned
from ..request.size import PIXELS_PER_LATENT
from .checkpoint import load_vae
from .contents import Contents
from .folder import load_part, part_files, upcasts
from .model import Model


def vae_dtype(force_upcast: bool, dtype: torch.dtype) -> torch.dtype:
    """The dtype a VAE runs in: SDXL's own overflows in fp16, which its configuration tells."""
    return torch.float32 if force_upcast and dtype == torch.float16 else dtype


def dtype_of(vae: Any) -> torch.dtype:
    """That a VAE's weights have now; diffusers' own `dtype` walks through all of them."""
    dtype: torch.dtype = next(vae.parameters()).dtype
    return dtype


def own_vae_contents(path: Path) -> Contents:
    """The files of a VAE of its own.

    Args:
        path: of a .safetensors file in the original or diffusers' layout, of a diffusers folder of
            a VAE, or of one that holds a folder `vae`.

    Raises:
        ModelNotFound: there is nothing.
    """
    if path.is_file():
        return Contents(path, (path,))
    folder = path / "vae" if (path / "vae").is_dir() else path
    if not (folder / "config.json").is_file():
        raise ModelNotFound(
            "a VAE, a .safetensors file or a folder with config.json", str(path), "Check the name."
        )
    return Contents(folder, tuple(part_files(folder)))


def load_own_vae(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, str]:
    """A VAE of its own, and the SHA-256 of its content.

    Args:
        path: as `own_vae_contents` takes it.
        device: to load to.
        dtype: of the model that it goes with.

    Raises:
        ModelNotFound: there is nothing.
        UnsupportedModel: it is not an SDXL VAE, or a damaged one.
    """
    contents = own_vae_contents(path)
    if contents.root.is_file():
        # A file has no configuration, so it is taken for one that overflows.
        module = load_vae(path, device, vae_dtype(True, dtype))
    else:
        folder = contents.root
        module = load_part(folder, "vae", device, vae_dtype(upcasts(folder), dtype))
    return module, contents.digest


def decode(model: Model, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
    """The image of latents, alone.

    Args:
        model: whose VAE to use.
        latents: (1, 4, H/8, W/8) fp32, scaled.
        tile: as `Geometry.vae_tile`.

    Returns:
        (H, W, 3) fp32 RGB on the device, in 0..1; all NaN if a number comes out that is not finite.
    """
    vae = model.vae

    def call() -> torch.Tensor:
        (decoded,) = vae.decode(unscaled.to(model.device, dtype_of(vae)), return_dict=False)
        return torch.as_tensor(decoded)

    with pinned(model.device), _products(model):
        unscaled = latents / vae.config.scaling_factor
        decoded = _finite_in_fp32(vae, call, tile)[0].float()
        pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(1, 2, 0)
        # Told by the pixels themselves: to ask now would be to wait for the device.
        return torch.where(decoded.isfinite().all(), pixels, torch.nan).contiguous()


def encode(
    model: Model, pixels: torch.Tensor, tile: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of an image's latents.

    Args:
        model: whose VAE to use.
        pixels: (H, W, 3) fp32 RGB in 0..1.
        tile: as `Geometry.vae_tile`.

    Returns:
        Twice (1, 4, H/8, W/8) fp32 on the device, scaled.

    Raises:
        FailedImage: what comes of the image is not finite.
    """
    vae = model.vae

    def call() -> torch.Tensor:
        posterior = vae.encode(image.to(model.device, dtype_of(vae))).latent_dist
        return torch.cat([posterior.mean, posterior.std])

    with pinned(model.device), _products(model):
        image = 2 * pixels.permute(2, 0, 1).unsqueeze(0) - 1
        found = _finite_in_fp32(vae, call, tile)
        if not found.isfinite().all():
            raise failed_image("latents of the VAE", dtype_of(vae))
        moments = found.float() * vae.config.scaling_factor
        mean, deviation = moments.chunk(2)
        return mean, deviation


def _products(model: Model) -> AbstractContextManager[None]:
    return vae_products(model.device, model.dtype, dtype_of(model.vae))


def _finite_in_fp32(vae: Any, call: Callable[[], torch.Tensor], tile: int | None) -> torch.Tensor:
    """What a call returns; in fp32 for the one image with which it overflows in fp16.

    The VAE is changed for the length of the call, which `pinned` keeps other threads from seeing.
    """
    with _tiled(vae, tile):
        result = call()
        if dtype_of(vae) == torch.float16 and not result.isfinite().all():
            with _in_fp32(vae):
                result = call()
    return result


def failed_image(what: str, dtype: torch.dtype) -> FailedImage:
    """What is said of an image with numbers that are not finite."""
    name = str(dtype).removeprefix("torch.")
    other = "bf16 or fp32" if dtype == torch.float16 else "another checkpoint or VAE"
    return FailedImage(
        f"finite numbers for the {what}",
        f"NaN or infinite ones, in {name}",
        f"Try {other}; without LoRAs, or with a lower cfg, if that does not help.",
    )


@contextmanager
def _tiled(vae: Any, tile: int | None) -> Iterator[None]:
    """Within the block, images larger than a tile go through in overlapping tiles; else whole.

    A program may have turned on tiles of its own, of which the numerics say nothing.
    """
    values: dict[str, Any] = {"use_tiling": tile is not None}
    if tile is not None:
        values["tile_sample_min_size"] = tile
        values["tile_latent_min_size"] = tile // PIXELS_PER_LATENT
    before = {name: getattr(vae, name) for name in values}
    for name, value in values.items():
        setattr(vae, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


@contextmanager
def _in_fp32(vae: Any) -> Iterator[None]:
    """The way there and back is exact: every number of fp16 is one of fp32."""
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(torch.float16)
