"""A MODEL, CLIP and VAE of ComfyUI's, as the engine runs them.

What ComfyUI does with a model takes part: patches of weights of every kind, quantised weights,
patches of blocks, functions around the UNet, its own tokenizer and precision. Lanes, samplers,
seeds and all that depends on them stay the engine's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch

from ....core.engine.backend import Backend
from ....core.engine.rows import Rows
from ....core.errors import InvalidRequest
from ....core.numerics import package_versions, vae_products
from ....core.out_of_memory import telling
from ....core.pinning import pinned
from ....core.request.record import MadeWith
from ....core.text.encoder import CACHE_SIZE, Embedding
from .attention import attention_name, steady_attention
from .guidance import conditions, guidance
from .identity import Unknown, digest_of, state_of
from .kind import GUIDING, check_kind, noise_of, patches_of
from .text import ComfyText
from .trial import try_guidance, try_patches
from .vae import ComfyVAE, check_finite

#: Arguments of diffusers' UNet that ComfyUI's has its own words for.
_KNOWN = {"sample", "timestep", "encoder_hidden_states", "added_cond_kwargs"}
_ADDED = {"time_ids", "text_embeds", "is_negative"}


class ComfyModel(Backend):
    """Runs the parts through ComfyUI, which moves their weights."""

    offload = True  # ComfyUI moves the parts, each when it is at work
    zeros_for_empty_prompt = False  # ComfyUI encodes the empty text
    native_size = 1024
    input_dtype = torch.float32

    def __init__(
        self, model: Any, clip: Any, vae: Any, name: str, *, unpromised: bool = False
    ) -> None:
        """Take the parts as they are; what is changed about them later makes another.

        Args:
            model: a ModelPatcher of an SDXL.
            clip: its CLIP.
            vae: its VAE.
            name: of the checkpoint, for people.
            unpromised: run patches too with which an image may depend on more than its request,
                or that have no content to tell them apart by; records name them.

        Raises:
            UnsupportedModel: they are not SDXL's, or patched in such a way.
        """
        check_kind(model, clip, vae)
        # Copies, so that nobody else's patches come in; they share the weights.
        self._patcher, own_clip = model.clone(), clip.clone()
        self._base = model.model
        self.scheduler_config = noise_of(self._sampling)
        self._patches = patches_of(model)
        self._guides = patches_of(model, GUIDING)
        self.device = model.load_device
        # ComfyUI's layers can't be changed, and on a CPU a row's bits depend on how many there are.
        self.takes_rows_alone = self.device.type == "cpu"
        self.dtype = model.get_model_object("manual_cast_dtype") or self._base.get_dtype()
        self.vae_dtype = vae.vae_dtype
        self.unet_bytes = self._patcher.model_size()
        self._memory = 0
        self._is_loaded = False
        self._text = ComfyText(own_clip, self.device)
        self._pixels = ComfyVAE(vae)
        self._sizes = lru_cache(CACHE_SIZE)(partial(_size_embedding, self._base))
        unknown = Unknown(unpromised)
        digest = digest_of(self._patcher, own_clip, vae, unknown)
        if self._patches or self._guides:
            self._try_patches(unknown)
        # What cannot be told apart is like nothing else, so that no store gives one for another.
        self.digest = f"{uuid.uuid4().hex}{digest[32:]}" if unknown.names else digest
        self.made_with = MadeWith(
            name=name,
            digest=self.digest,
            files_digest=self.digest,
            through="ComfyUI",
            unpromised=tuple(unknown.names),
        )

    def _try_patches(self, unknown: Unknown) -> None:
        side = float(self.native_size)
        with pinned(self.device), self.running():
            embeds, pooled = self.encode_text("", chunks=1, clip_skip=0)
            vectors = self._vectors(pooled, torch.tensor([[side, side, 0, 0, side, side]]))
            self._load()
            # What patches keep is of use to nobody but functions of guidance.
            kept = partial(state_of, self._patcher) if self._guides else str
            if self._patches and (expected := try_patches(self._call, kept, embeds, vectors)):
                unknown.note(expected, ", ".join(self._patches))
            if self._guides and (expected := try_guidance(self.guide, embeds, pooled)):
                unknown.note(expected, ", ".join(self._guides))

    @property
    def _sampling(self) -> Any:
        return self._patcher.get_model_object("model_sampling")

    def reserve(self, memory: int) -> None:
        """Have so many bytes free beside the UNet's weights when it is called."""
        self._memory = memory

    @contextmanager
    def running(self) -> Iterator[None]:
        """As ComfyUI begins and ends its own sampling."""
        self._is_loaded = False
        try:
            yield
        finally:
            self._patcher.cleanup()

    def attention(self) -> str:
        """The name of ComfyUI's function, or torch's where that takes its place."""
        return attention_name()

    def libraries(self) -> Mapping[str, str]:
        """Torch's and ComfyUI's."""
        import comfyui_version

        return {**package_versions("torch"), "comfyui": comfyui_version.__version__}

    # Text

    def count(self, prompt: str | None) -> int:
        """As `ComfyText.count`."""
        return self._text.count(prompt)

    def check_clip_skip(self, clip_skip: int) -> None:
        """As `ComfyText.check_clip_skip`."""
        self._text.check_clip_skip(clip_skip)

    def encode_text(self, prompt: str | None, *, chunks: int, clip_skip: int) -> Embedding:
        """As `ComfyText.encode`."""
        self._is_loaded = False  # ComfyUI may move the UNet out for it
        return self._text.encode(prompt, chunks=chunks, clip_skip=clip_skip)

    def inversions(self, prompts: Iterable[str]) -> Mapping[str, str]:
        """As `ComfyText.inversions`."""
        return self._text.inversions(prompts)

    # UNet

    def unet(self, call: Mapping[str, Any]) -> torch.Tensor:
        """ComfyUI's patched model, as its own samplers call it.

        Patches may ask for the step (`sigmas`), which to them is one for all rows. So with patches,
        rows of one call are of one step: a call for each, in which the others are company.
        """
        added = call["added_cond_kwargs"]
        if unknown := (call.keys() - _KNOWN) | (added.keys() - _ADDED):
            raise InvalidRequest(
                "images with nothing that only Load SDXL's models can do",
                f"some with {', '.join(sorted(unknown))}",
                "Use Load SDXL in place of Model From ComfyUI.",
            )
        self._load()
        times = call["timestep"].float()
        rows = [
            call["sample"].float(),
            torch.cat(call["encoder_hidden_states"]),
            self._vectors(added["text_embeds"], added["time_ids"]),
            added["is_negative"],
        ]
        if not self._patches:
            return self._call(times, *rows)
        result = torch.zeros_like(rows[0])
        real = added["time_ids"].any(dim=1)  # padding has no size
        for time in times[real].unique():
            of_it = times == time
            result[of_it] = self._call(time.expand(len(times)), *rows)[of_it]
        return result

    def _call(
        self,
        times: torch.Tensor,
        sample: torch.Tensor,
        embeds: torch.Tensor,
        vectors: torch.Tensor,
        is_negative: torch.Tensor,
    ) -> torch.Tensor:
        sampling = self._sampling
        sigma = sampling.sigma(times).to(sample.device)
        wide = sigma[:, None, None, None]
        scale = (wide**2 + 1) ** 0.5
        noisy = sample * scale
        sides = [int(side) for side in is_negative]
        options = self._transformer_options() | {
            "cond_or_uncond": sides,
            "uuids": [uuid.uuid4() for _ in sides],
            "sigmas": sigma,
        }
        given = {"c_crossattn": embeds, "y": vectors, "transformer_options": options}
        wrapper = self._patcher.model_options.get("model_function_wrapper")
        if wrapper is None:
            denoised = self._base.apply_model(noisy, sigma, **given)
        else:
            denoised = wrapper(
                self._base.apply_model,
                {"input": noisy, "timestep": sigma, "c": given, "cond_or_uncond": sides},
            )
        return self._said(noisy, denoised, wide)

    def _transformer_options(self) -> dict[str, Any]:
        from comfy.patcher_extension import merge_nested_dicts

        own: dict[str, Any] = self._patcher.model_options["transformer_options"]
        wrappers = merge_nested_dicts(own.get("wrappers", {}), self._patcher.wrappers)
        return steady_attention() | own | {"wrappers": wrappers}

    def _said(
        self, noisy: torch.Tensor, denoised: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        """The guess of an image -> what the UNet said, as ComfyUI's EPS and V_PREDICTION."""
        if self.scheduler_config["prediction_type"] == "v_prediction":
            variance = sigma**2 + 1
            return (noisy / variance - denoised) * variance**0.5 / sigma
        return (noisy - denoised) / sigma

    def guide(self, rows: Rows, predictions: torch.Tensor, scale: float) -> torch.Tensor:
        """By the functions that are patched in place of guidance, or after it."""
        if not self._guides:
            return super().guide(rows, predictions, scale)
        self._load()
        call = rows.call(self.device, self.input_dtype)
        added = call["added_cond_kwargs"]
        vectors = self._vectors(added["text_embeds"], added["time_ids"])
        embeds = torch.cat(call["encoder_hidden_states"])
        sampling = self._sampling
        sigma = sampling.sigma(call["timestep"].float()[:1]).to(self.device)
        wide = sigma[:, None, None, None]
        noisy = call["sample"][:1] * (wide**2 + 1) ** 0.5
        outputs = predictions.to(self.device)
        guesses = [sampling.calculate_denoised(sigma, out[None], noisy) for out in outputs]
        guided = guidance(
            self._base,
            self._patcher.model_options | {"transformer_options": self._transformer_options()},
            [conditions(*own) for own in zip(embeds, vectors, strict=True)],
            guesses,
            noisy,
            sigma,
            scale,
        )
        return self._said(noisy, guided, wide).float()

    def _vectors(self, pooled: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        own = [self._sizes(tuple(map(float, row))) for row in sizes.tolist()]
        return torch.cat([pooled, torch.cat(own).to(pooled)], dim=1)

    def _load(self) -> None:
        """Have the UNet's weights on the device, all of them: with a part elsewhere bits differ."""
        import comfy.model_management as manager

        if self._is_loaded:
            return
        with telling("enough memory for the UNet's weights", "Close what else uses it."):
            manager.load_models_gpu(
                [self._patcher], memory_required=self._memory, force_full_load=True
            )
        self._patcher.pre_run()
        self._is_loaded = True

    # VAE

    def encode_image(
        self, pixels: torch.Tensor, tile: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """By its VAE, which gives the mean alone."""
        self._is_loaded = False  # as for text
        with vae_products(self.device, self.dtype, self.vae_dtype):
            mean = self.scaled(self._pixels.encode(pixels, tile)).to(self.device)
        return mean, torch.zeros_like(mean)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """From ComfyUI's own scale of latents."""
        return torch.as_tensor(self._base.process_latent_in(latents))

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """As ComfyUI's nodes hand latents on."""
        return torch.as_tensor(self._base.process_latent_out(latents))

    def decode(self, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """By its VAE."""
        self._is_loaded = False
        check_finite(latents, "latents", self.dtype)
        with vae_products(self.device, self.dtype, self.vae_dtype):
            return self._pixels.decode(self.unscaled(latents), tile)


def _size_embedding(base: Any, sizes: tuple[float, ...]) -> torch.Tensor:
    """What stands beside the pooled text for the sizes of a request: (1, D)."""
    height, width, top, left, target_height, target_width = sizes
    return torch.as_tensor(
        base.encode_adm(
            pooled_output=torch.zeros(1, 0),
            width=width,
            height=height,
            crop_w=left,
            crop_h=top,
            target_width=target_width,
            target_height=target_height,
        )
    )
