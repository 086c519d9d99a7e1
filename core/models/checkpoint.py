"""One file in SDXL's original layout -> components.

diffusers' own conversion renames the tensors; the configuration is our own copy of SDXL's, so that
nothing has to be fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import UnsupportedModel
from .contents import Contents
from .family import check_is_sdxl
from .header import Header, read_header
from .original_names import original_name
from .sdxl_config import (
    SCHEDULER,
    text_encoder_2_config,
    text_encoder_config,
    unet_config,
    vae_config,
)
from .weights import NEEDLESS, Tensors, empty, fill, mismatch, plain_names, some, text_encoder

UNET = "model.diffusion_model."
CLIP_L = "conditioner.embedders.0.transformer."
CLIP_G = "conditioner.embedders.1.model."
VAE = "first_stage_model."


#: What ComfyUI's fp8 of larger range has beside a `weight`: its factor, and what is no part of it.
_SCALE = ".scale_weight"
_OF_SCALED_FP8 = (_SCALE, ".scale_input", "scaled_fp8")


class Part(NamedTuple):
    """One component in a checkpoint.

    Attributes:
        prefix: of its tensors' names.
        module: without weights (on torch's `meta` device).
        convert: tensors under their original names, with prefix -> under the module's.
    """

    prefix: str
    module: Any
    convert: Callable[[Tensors], Tensors]


class Checkpoint:
    """A file that holds an SDXL model, as far as its header tells; weights are read part by part.

    Attributes:
        path: of the file.
        has_vae: whether there is one in it.
        zeros_for_empty_prompt: whether it was made for zeros in place of an empty negative prompt,
            which no file says: SDXL was.
        vae_upcasts: whether it overflows in fp16; the file does not say, and SDXL's own does.
    """

    vae_upcasts = True
    zeros_for_empty_prompt = True

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            UnsupportedModel: it is not an SDXL checkpoint, or not a whole one.
        """
        self.path = path
        self._header = read_header(path)
        check_is_sdxl(path, self._header)
        self.has_vae = any(name.startswith(VAE) for name in self._header.shapes)
        try:
            self._parts = self._plan()
        except (LookupError, ValueError, TypeError) as error:
            raise _refusal(path, f"without {error}") from error
        for part in self._parts.values():
            _check(path, part, self._header)

    def load(self, name: str, device: torch.device, dtype: torch.dtype) -> Any:
        """The component `unet`, `text_encoder`, `text_encoder_2` or `vae`.

        Raises:
            UnsupportedModel: the file cannot be read.
        """
        return _load(self.path, self._parts[name], device, dtype)

    def skeleton(self, name: str) -> Any:
        """A component without its weights, on torch's `meta` device."""
        return self._parts[name].module

    def contents(self, *, with_vae: bool) -> Contents:
        """The file; a VAE in it that is not used counts, since the file is hashed as a whole."""
        return Contents(self.path, (self.path,))

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """SDXL's, with the kind of prediction and the noise levels that the file tells.

        Trainers mark v-prediction by an empty tensor `v_pred` or in the header's metadata, and
        zero terminal SNR (arXiv:2305.08891), which needs trailing timesteps, by `ztsnr`.
        """
        config = dict(SCHEDULER)
        says = self._header.metadata.get("modelspec.prediction_type", "")
        if "v_pred" in self._header.shapes or says in ("v", "v_prediction"):
            config["prediction_type"] = "v_prediction"
        if "ztsnr" in self._header.shapes:
            config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return config

    def _plan(self) -> dict[str, Part]:
        from diffusers import UNet2DConditionModel
        from diffusers.loaders import single_file_utils as convert

        shapes = self._header.shapes
        second = text_encoder_2_config(below(CLIP_G, shapes))
        first = text_encoder_config(below(CLIP_L, shapes))
        unet = unet_config(below(UNET, shapes), second["projection_dim"])
        clip_l = empty(lambda: text_encoder(first, projected=False), self.path)
        clip_g = empty(lambda: text_encoder(second, projected=True), self.path)

        def to_clip_l(tensors: Tensors) -> Tensors:
            return plain_names(clip_l, convert.convert_ldm_clip_checkpoint(tensors))

        def to_clip_g(tensors: Tensors) -> Tensors:
            return dict(convert.convert_open_clip_checkpoint(clip_g, tensors, prefix=CLIP_G))

        def to_unet(tensors: Tensors) -> Tensors:
            return dict(convert.convert_ldm_unet_checkpoint(tensors, unet))

        parts = {
            "unet": Part(UNET, empty(lambda: UNet2DConditionModel(**unet), self.path), to_unet),
            "text_encoder": Part(CLIP_L, clip_l, to_clip_l),
            "text_encoder_2": Part(CLIP_G, clip_g, to_clip_g),
        }
        return parts | ({"vae": vae_part(self.path, VAE, self._header)} if self.has_vae else {})


def load_vae(path: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The AutoencoderKL in a file of its own, in the original layout or in diffusers'.

    Raises:
        UnsupportedModel: it is not an SDXL VAE, or not a whole one.
    """
    header = read_header(path)
    prefix = VAE if any(name.startswith(VAE) for name in header.shapes) else ""
    try:
        part = vae_part(path, prefix, header)
    except (LookupError, ValueError) as error:
        raise UnsupportedModel(
            "a VAE of SDXL", f"{path}, without {error}", "Choose a VAE made for SDXL."
        ) from error
    _check(path, part, header)
    return _load(path, part, device, dtype)


def vae_part(path: Path, prefix: str, header: Header) -> Part:
    """The VAE among a file's tensors of this prefix.

    Raises:
        KeyError: there is none.
    """
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    shapes = below(prefix, header.shapes)
    is_diffusers = "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes
    config = vae_config(shapes)
    module = empty(lambda: AutoencoderKL(**config), path)

    def convert(tensors: Tensors) -> Tensors:
        return tensors if is_diffusers else dict(convert_ldm_vae_checkpoint(tensors, config))

    return Part(prefix, module, convert)


def below(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The entries whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _names(part: Part, header: Header) -> list[str]:
    return [
        name
        for name in header.shapes
        if name.startswith(part.prefix) and not name.endswith((*NEEDLESS, *_OF_SCALED_FP8))
    ]


def _scaled(header: Header) -> set[str]:
    """The weights that are to be multiplied by a factor."""
    return {
        name.removesuffix(_SCALE) + ".weight" for name in header.shapes if name.endswith(_SCALE)
    }


def _check(path: Path, part: Part, header: Header) -> None:
    """Compare names and shapes with the module's, without reading any weights.

    Raises:
        UnsupportedModel: they differ.
    """
    names = _names(part, header)
    for name in _scaled(header):
        scale = name.removesuffix(".weight") + _SCALE
        if header.shapes[scale] not in ((), (1,)) or name not in header.shapes:
            raise _refusal(path, f"with {scale}, which is no factor of a weight")
    tensors = {name: torch.empty(header.shapes[name], device="meta") for name in names}
    try:
        given = part.convert(tensors)
    except (LookupError, AttributeError) as error:  # the conversion relies on some of them
        raise _refusal(path, f"without {error}") from error
    found = mismatch(part.module, given)
    if found:
        raise _refusal(path, found)
    if part.prefix == UNET:
        # More than SDXL has would be left out in silence, and the images be wrong.
        layers = part.module.config.layers_per_block
        known = {UNET + original_name(name, layers) for name in part.module.state_dict()}
        unknown = sorted(set(names) - known)
        if unknown:
            raise _refusal(path, f"with {some(unknown)}, which SDXL has not")


def _load(path: Path, part: Part, device: torch.device, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = read_header(path)
            tensors = {name: file.get_tensor(name) for name in _names(part, header)}
            for name in tensors.keys() & _scaled(header):
                scale = file.get_tensor(name.removesuffix(".weight") + _SCALE)
                tensors[name] = tensors[name].float() * scale.float().reshape(())
            tensors = part.convert(tensors)
    except (OSError, SafetensorError) as error:
        raise _refusal(path, f"which cannot be read ({error})") from error
    return fill(part.module, tensors, device, dtype)


def _refusal(path: Path, found: str) -> UnsupportedModel:
    return UnsupportedModel(
        "a whole SDXL checkpoint", f"{path}, {found}", "Fetch it again, or use another model."
    )
