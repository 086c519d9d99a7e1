"""Images through a VAE of ComfyUI's, one at a time."""

from __future__ import annotations

from typing import Any

import torch

from ....core.errors import FailedImage
from ....core.out_of_memory import telling
from ....core.request.size import PIXELS_PER_LATENT


class ComfyVAE:
    """Calls it whole: where memory is short ComfyUI's own nodes would take tiles without a word."""

    def __init__(self, vae: Any) -> None:
        """Call `vae`."""
        self._vae = vae

    def encode(self, pixels: torch.Tensor, tile: int | None) -> torch.Tensor:
        """(H, W, 3) fp32 in 0..1 -> (1, 4, H/8, W/8) fp32 on the CPU, as ComfyUI keeps latents.

        Raises:
            FailedImage: what comes of it is not finite.
            OutOfMemory: there is too little.
        """
        image = pixels[None]
        if tile is not None and max(image.shape[1:3]) > tile:
            latents = self._vae.encode_tiled(image, tile_x=tile, tile_y=tile, overlap=tile // 4)
        else:
            latents = self._call("encode", self._vae.process_input(image.movedim(-1, 1)))
        return check_finite(latents.float().cpu(), "latents of the VAE", self._vae.vae_dtype)

    def decode(self, latents: torch.Tensor, tile: int | None) -> torch.Tensor:
        """(1, 4, H/8, W/8) fp32, as ComfyUI keeps latents -> (H, W, 3) fp32 in 0..1 on the CPU.

        Raises: as `encode`.
        """
        side = None if tile is None else tile // PIXELS_PER_LATENT
        if side is not None and max(latents.shape[2:]) > side:
            image = self._vae.decode_tiled(latents, tile_x=side, tile_y=side, overlap=side // 4)
        else:
            image = self._vae.process_output(self._call("decode", latents)).movedim(1, -1)
        whole = check_finite(image.float().cpu(), "pixels of the VAE", self._vae.vae_dtype)
        return whole[0].contiguous()

    def _call(self, way: str, given: torch.Tensor) -> torch.Tensor:
        import comfy.model_management as manager

        vae = self._vae
        needed = getattr(vae, f"memory_used_{way}")(given.shape, vae.vae_dtype)
        with telling("enough memory for the VAE", "Set `vae_tile` to 512; it may give other bits."):
            manager.load_models_gpu([vae.patcher], memory_required=needed, force_full_load=True)
            ready = given.to(vae.device, vae.vae_dtype)
            return torch.as_tensor(getattr(vae.first_stage_model, way)(ready).float())


def check_finite(tensor: torch.Tensor, what: str, dtype: torch.dtype) -> torch.Tensor:
    """The tensor.

    Raises:
        FailedImage: it holds NaN or infinite numbers.
    """
    if not tensor.isfinite().all():
        raise FailedImage(
            f"finite numbers for the {what}",
            f"NaN or infinite ones, in {str(dtype).removeprefix('torch.')}",
            "Try another VAE or checkpoint; without LoRAs, or with a lower cfg.",
        )
    return tensor
