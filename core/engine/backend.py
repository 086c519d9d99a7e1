"""What the engine asks of a model, whoever runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ..request.record import MadeWith
    from ..text.encoder import Embedding
    from .rows import Rows


class Backend(ABC):
    """An SDXL model as the engine runs it.

    To run models of another program is to write a subclass. All but `running` is called in
    `pinning.pinned`, and each call's bits are a function of its arguments and the model.

    Attributes:
        device: that tensors of a UNet call lie on.
        dtype: that the UNet computes in.
        input_dtype: that its calls' numbers come in.
        mixes_lengths: whether prompts of one UNet call may differ in length.
        takes_rows_alone: whether each row has to have a UNet call of its own, since its bits depend
            on how many there are, or in half precision may.
        full_calls: whether UNet calls always have the full number of rows, since each other one
            would be compiled anew.
        vae_dtype: that the VAE computes in.
        offload: whether only the part at work lies on the device.
        native_size: width and height in pixels that the model was made for.
        scheduler_config: what the model says of its noise, in diffusers' words.
        zeros_for_empty_prompt: whether it was made for zeros in place of an empty negative prompt,
            where a request does not say.
        digest: SHA-256 of all that the model is made of, in hexadecimal.
        made_with: the model as records have it.
        unet_bytes: of the UNet's weights.
        text_bytes: of what is kept of 77 tokens of a row's prompt from call to call.
        layers: names the UNet's layers: equal for models that differ in their weights only. Of use
            on a CPU, where rows are not taken alone.
    """

    device: torch.device
    dtype: torch.dtype
    input_dtype: torch.dtype
    mixes_lengths: bool = False
    takes_rows_alone: bool = False
    full_calls: bool = False
    vae_dtype: torch.dtype
    offload: bool
    native_size: int
    scheduler_config: Mapping[str, Any]
    zeros_for_empty_prompt: bool
    digest: str
    made_with: MadeWith
    unet_bytes: int
    text_bytes: int = 0
    layers: str = ""

    @abstractmethod
    def running(self) -> AbstractContextManager[None]:
        """Around a run of images."""

    @abstractmethod
    def attention(self) -> str:
        """Which implementation of attention it computes with now."""

    @abstractmethod
    def libraries(self) -> Mapping[str, str]:
        """The versions of what it computes with."""

    @abstractmethod
    def count(self, prompt: str | None) -> int:
        """As `TextEncoder.count`."""

    @abstractmethod
    def check_clip_skip(self, clip_skip: int) -> None:
        """As `TextEncoder.check_clip_skip`."""

    @abstractmethod
    def encode_text(self, prompt: str | None, *, chunks: int, clip_skip: int) -> Embedding:
        """As `TextEncoder.encode`."""

    @abstractmethod
    def inversions(self, prompts: Iterable[str]) -> Mapping[str, str]:
        """Textual inversions that prompts call: name -> SHA-256.

        Raises:
            InvalidPrompts: one is not there.
        """

    @abstractmethod
    def unet(self, call: Mapping[str, Any]) -> torch.Tensor:
        """The UNet's guess for each row of one call.

        Args:
            call: the arguments of diffusers' UNet by name; as `encoder_hidden_states`
                (1, 77 N, C) for each row.

        Returns:
            (R, 4, H/8, W/8) on the device, the noise or velocity by `scheduler_config`.
        """

    def guide(
        self,
        rows: Rows,  # noqa: ARG002 - for models with a guidance of their own
        predictions: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """What an image's step goes by, of what the UNet said for its rows.

        Classifier-free guidance (arXiv:2207.12598, eq. 6, in diffusers' parametrisation, where 1 is
        off).

        Args:
            rows: one, or two with the negative prompt's first.
            predictions: for them, fp32 on the device.
            scale: of guidance; 1 for one row.

        Returns:
            (1, 4, H/8, W/8) fp32 on the device.
        """
        if len(predictions) == 1:
            return predictions
        negative, positive = predictions.chunk(2)
        return negative + scale * (positive - negative)

    @abstractmethod
    def encode_image(
        self, pixels: torch.Tensor, tile: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `models.vae.encode`."""

    @abstractmethod
    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of the VAE's own scale as the UNet takes them, (1, 4, H/8, W/8) fp32."""

    @abstractmethod
    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """The way back, which `decode` goes."""

    @abstractmethod
    def decode(self, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """As `models.vae.decode`."""
