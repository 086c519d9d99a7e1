"""What a model needs of a device's memory, without loading it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..numerics import Geometry
from ..request.size import PIXELS_PER_LATENT
from .checkpoint import Checkpoint
from .folder import DiffusersFolder
from .sdxl_config import TEXT_ENCODER, TEXT_ENCODER_2, UNET, VAE
from .vae import vae_dtype

#: Size of the calls that are measured; what a call takes grows with its pixels.
_PROBE = 512


@dataclass(frozen=True)
class Footprint:
    """Bytes of a model's weights and of its calls, in the precision it would run in.

    Attributes:
        unet: of its weights.
        text_encoders: of both.
        vae: of its weights.
        vae_dtype: that it would run in.
        unet_call: most that tensors take within a UNet call, for each pixel of each row.
        vae_call: likewise for each pixel that the VAE decodes at once.
    """

    unet: int
    text_encoders: int
    vae: int
    vae_dtype: torch.dtype
    unet_call: float
    vae_call: float

    @property
    def weights(self) -> int:
        """All parts."""
        return self.unet + self.text_encoders + self.vae

    def peak(self, width: int, height: int, geometry: Geometry, *, offload: bool = False) -> int:
        """The most that weights and tensors take at once in a run, in bytes.

        What kernels and drivers take for themselves comes on top.

        Args:
            width: of the images, in pixels.
            height: likewise.
            geometry: of the calls.
            offload: whether the parts are moved to the device when called.
        """
        pixels = width * height
        at_once = pixels if geometry.vae_tile is None else min(pixels, geometry.vae_tile**2)
        unet_call = round(self.unet_call * pixels * geometry.rows)
        vae_call = round(self.vae_call * at_once)
        if not offload:
            return self.weights + max(unet_call, vae_call)
        # The UNet leaves for the VAE, but the VAE stays.
        return self.vae + max(self.unet + unet_call, vae_call, self.text_encoders)


def footprint(source: Checkpoint | DiffusersFolder | None, dtype: torch.dtype) -> Footprint:
    """Measure a model by its calls on torch's `meta` device, where tensors have only shapes.

    Args:
        source: None for SDXL as it was published, whose VAE stands in for one that is missing.
        dtype: of UNet and text encoders; the VAE's follows.

    Raises:
        UnsupportedModel: a part is missing.
    """
    own_vae = source is not None and source.has_vae
    precision = vae_dtype(source.vae_upcasts if source and own_vae else True, dtype)
    vae = _skeleton(source if own_vae else None, "vae").to(precision)
    unet, *texts = (
        _skeleton(source, name).to(dtype) for name in ("unet", "text_encoder", "text_encoder_2")
    )
    return Footprint(
        unet=_bytes(unet),
        text_encoders=sum(map(_bytes, texts)),
        vae=_bytes(vae),
        vae_dtype=precision,
        unet_call=_peak(lambda: _call_unet(unet, 2, dtype)) / (2 * _PROBE**2),
        vae_call=_peak(lambda: vae.decode(_latents(1, vae.dtype))) / _PROBE**2,
    )


def _skeleton(source: Checkpoint | DiffusersFolder | None, name: str) -> Any:
    if source is not None:
        return source.skeleton(name)
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        match name:
            case "unet":
                return UNet2DConditionModel(**UNET)
            case "vae":
                return AutoencoderKL(**VAE)
            case "text_encoder":
                return CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
        return CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_ENCODER_2))


def _bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _latents(rows: int, dtype: torch.dtype) -> torch.Tensor:
    side = _PROBE // PIXELS_PER_LATENT
    return torch.empty(rows, 4, side, side, dtype=dtype, device="meta")


def _call_unet(unet: Any, rows: int, dtype: torch.dtype) -> None:
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    place: dict[str, Any] = {"dtype": dtype, "device": "meta"}
    unet(
        _latents(rows, dtype),
        torch.empty(rows, device="meta"),
        encoder_hidden_states=torch.empty(rows, 77, config.cross_attention_dim, **place),
        added_cond_kwargs={
            "text_embeds": torch.empty(rows, pooled, **place),
            "time_ids": torch.empty(rows, 6, **place),
        },
    )


def _peak(call: Callable[[], Any]) -> int:
    """Most bytes of tensors that are alive at once within a call."""
    living = LiveTensors()
    with ExitStack() as stack:
        for mode in (torch.inference_mode(), torch.device("meta"), _Attention(), living):
            stack.enter_context(mode)
        call()
    return living.peak


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its block, counts the bytes of new tensors as they come and go.

    Attributes:
        peak: the most that were alive at once.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what an operation makes."""
        output = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(output):
            if storage._cdata not in given:  # others are seen from another side, as weights are
                self._count(storage)
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self._sizes.pop, storage._cdata)
            self.peak = max(self.peak, sum(self._sizes.values()))


def _storages(values: Any) -> list[torch.UntypedStorage]:
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return [tensor.untyped_storage() for tensor in tensors]


class _Attention(TorchFunctionMode):
    """Attention as fused kernels do it: without the matrix of all pairs that `meta` would make."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return torch.empty_like(kwargs["query"] if kwargs and "query" in kwargs else args[0])
        return func(*args, **(kwargs or {}))
