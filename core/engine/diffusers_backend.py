"""Models of diffusers' and transformers' parts, as the engine runs them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..models.attention import attention_of
from ..models.compiled import CompiledUNet
from ..models.model import Model
from ..models.offload import offloaded
from ..models.row_layers import use_row_layers
from ..models.text_attention import (
    TextMemory,
    text_attentions,
    text_bytes,
)
from ..models.turned_on import check_as_loaded
from ..models.vae import decode, dtype_of, encode
from ..numerics import package_versions
from ..request.named import Named
from ..request.record import MadeWith, NamedLora
from ..text.chunks import called_inversions
from ..text.encoder import Embedding, TextEncoder
from .backend import Backend


class DiffusersBackend(Backend):
    """Runs a `Model`; its attributes are the model's.

    Prompts of one call may differ in length on a CPU, in an uncompiled UNet. Elsewhere the bits of
    attention may depend on how many rows a length has, or each mixture would be compiled anew.
    """

    def __init__(self, model: Model) -> None:
        """Run `model`, whose UNet gets the layers that the engine needs, its VAE the format."""
        from ..models.blocks import use_plain_blocks
        from ..models.upsampling import use_summed_upsampling

        use_row_layers(model.unet)
        for part in (model.unet, model.vae):
            use_plain_blocks(part)
            use_summed_upsampling(part)
        if model.device.type == "cpu":
            # One image takes a fifth to two fifths less time so; rows of the UNet gain nothing.
            model.vae.to(memory_format=torch.channels_last)
        self._attentions = text_attentions(model.unet)
        self._model = model
        compiled = self.full_calls = model.spec.compiled
        self._compiled = CompiledUNet(model.unet, model.device) if compiled else None
        self._text = TextEncoder(model)
        self._memory = TextMemory()
        self.device = model.device
        self.dtype = self.input_dtype = model.dtype
        self.offload = model.offload
        self.native_size = model.native_size
        self.scheduler_config = model.scheduler_config
        self.zeros_for_empty_prompt = model.zeros_for_empty_prompt
        self.unet_bytes = sum(w.numel() * w.element_size() for w in model.unet.parameters())
        self.text_bytes = text_bytes(self._attentions)
        config = {key: model.unet.config[key] for key in sorted(model.unet.config)}
        self.takes_rows_alone = model.device.type == "cpu" and model.dtype != torch.float32
        self.layers = f"{type(model.unet).__name__} {json.dumps(config, default=str)}"

    def _understand_texts(self) -> bool:
        from ..models.blocks import are_as_made

        return are_as_made(self._attentions)

    @property
    def mixes_lengths(self) -> bool:  # type: ignore[override]
        """Whether they may now: a program may give the UNet another attention."""
        on_cpu = self.device.type == "cpu"
        return on_cpu and self._compiled is None and self._understand_texts()

    @property
    def vae_dtype(self) -> torch.dtype:  # type: ignore[override]
        """Of the VAE now: decoding may change it for a while."""
        return dtype_of(self._model.vae)

    @property
    def digest(self) -> str:  # type: ignore[override]
        """Of the model."""
        return self._model.digest

    @property
    def made_with(self) -> MadeWith:  # type: ignore[override]
        """The model as records have it; raises as `models.turned_on.check_as_loaded`."""
        model = self._model
        check_as_loaded(model)
        return MadeWith(
            name=model.name,
            digest=model.digest,
            files_digest=model.contents.files_digest if model.contents.changes else model.digest,
            vae=None if model.given_vae is None else Named(*model.given_vae),
            loras=tuple(
                NamedLora(lora.name, lora.digest, lora.weight, lora.text_weight)
                for lora in model.loras
            ),
            noise=dict(model.noise),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """As `models.offload.offloaded`; what is kept of prompts is kept as long."""
        self._memory = TextMemory()
        try:
            with offloaded(self._model):
                yield
        finally:
            self._memory = TextMemory()

    def attention(self) -> str:
        """As `models.attention.attention_of`."""
        return attention_of(self._model.unet, self._model.vae, self._model.text_encoders)

    def libraries(self) -> Mapping[str, str]:
        """Those of torch, diffusers and transformers, and of what compiles."""
        versions = package_versions("torch", "diffusers", "transformers")
        return {**versions, "compiled": self._compiled.compiler} if self._compiled else versions

    def count(self, prompt: str | None) -> int:
        """As `TextEncoder.count`."""
        return self._text.count(prompt)

    def check_clip_skip(self, clip_skip: int) -> None:
        """As `TextEncoder.check_clip_skip`."""
        self._text.check_clip_skip(clip_skip)

    def encode_text(self, prompt: str | None, *, chunks: int, clip_skip: int) -> Embedding:
        """As `TextEncoder.encode`."""
        return self._text.encode(prompt, chunks=chunks, clip_skip=clip_skip)

    def inversions(self, prompts: Iterable[str]) -> Mapping[str, str]:
        """Those of the model."""
        known = self._model.inversions
        called = set().union(*(called_inversions(prompt, known) for prompt in prompts))
        return {name: known[name].digest for name in sorted(called)}

    def unet(self, call: Mapping[str, Any]) -> torch.Tensor:
        """The model's own."""
        rows = call["encoder_hidden_states"]
        if self._compiled is not None:
            return self._compiled(**{**call, "encoder_hidden_states": torch.cat(rows)})
        known = self._understand_texts()
        texts = self._memory.texts(rows) if known else torch.cat(rows)
        call = {**call, "encoder_hidden_states": texts}
        (output,) = self._model.unet(**call, return_dict=False)
        return torch.as_tensor(output)

    def encode_image(
        self, pixels: torch.Tensor, tile: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `models.vae.encode`."""
        return encode(self._model, pixels, tile)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """By the number that the VAE's configuration says."""
        return torch.as_tensor(latents * self._model.vae.config.scaling_factor)

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Likewise."""
        return torch.as_tensor(latents / self._model.vae.config.scaling_factor)

    def decode(self, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """As `models.vae.decode`."""
        return decode(self._model, latents, tile)


def backend_of(model: Model | Backend) -> Backend:
    """What runs a model; itself, if it does."""
    return model if isinstance(model, Backend) else DiffusersBackend(model)
