"""An SDXL model as data: its parts, what it was made of, and how to get it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..request.size import PIXELS_PER_LATENT
from .contents import Contents
from .spec import ModelSpec


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA as it is applied.

    Attributes:
        name: of its file, without ending.
        path: of its file.
        digest: SHA-256 of its content.
        weight: factor of its changes to the UNet.
        text_weight: factor of its changes to the text encoders.
        changes: component -> what `read_lora` found for it in the file.
        skip_unknown: whether it might leave out something of the file.
    """

    name: str
    path: str
    digest: str
    weight: float
    text_weight: float
    changes: Mapping[str, Any]
    skip_unknown: bool = False


@dataclass(frozen=True, eq=False)
class TextualInversion:
    """A learned word.

    Attributes:
        digest: SHA-256 of its file.
        vectors: for each text encoder (N, its width) fp32 on the CPU, N tokens' worth.
    """

    digest: str
    vectors: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of an SDXL model that runs on one device.

    Attributes:
        name: as it was asked for, without the folders above it; on the hub, with its owner.
        spec: how to get it again.
        contents: what it was made of.
        unet: a diffusers UNet2DConditionModel in `dtype`.
        vae: a diffusers AutoencoderKL; in fp32 where it overflows in `dtype`.
        tokenizers: of CLIP ViT-L and of OpenCLIP bigG.
        text_encoders: CLIPTextModel and CLIPTextModelWithProjection in `dtype`.
        scheduler_config: what the model says of its noise, in diffusers' words.
        device: that all parts run on, wherever they lie in between.
        dtype: of UNet and text encoders.
        loras: that are applied, in the order of their digests.
        base: the model without them, None if there are none.
        given_vae: name and SHA-256 of a VAE in place of the model's own, None for that.
        noise: `prediction_type` and `zero_terminal_snr` of the spec where they differ from what the
            model says of itself.
        inversions: textual inversions that prompts may call, by name.
        offload: whether each part is moved to the device when it is called, from the CPU.
        zeros_for_empty_prompt: whether it was made for zeros in place of an empty negative prompt,
            where a request does not say.
    """

    name: str
    spec: ModelSpec
    contents: Contents
    unet: Any
    vae: Any
    tokenizers: tuple[Any, Any]
    text_encoders: tuple[Any, Any]
    scheduler_config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    loras: tuple[Lora, ...] = ()
    base: Model | None = None
    given_vae: tuple[str, str] | None = None
    noise: Mapping[str, Any] = field(default_factory=dict)
    inversions: Mapping[str, TextualInversion] = field(default_factory=dict)
    offload: bool = False
    zeros_for_empty_prompt: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 of the model's content: of all weights and configurations that were loaded."""
        return self.contents.digest

    @property
    def native_size(self) -> int:
        """Width and height in pixels that the model was made for."""
        return int(self.unet.config.sample_size) * PIXELS_PER_LATENT
