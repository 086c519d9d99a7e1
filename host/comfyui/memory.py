"""A model's parts among those that ComfyUI moves between the device and its own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch

from ...core.out_of_memory import telling

if TYPE_CHECKING:
    from ...core.models.model import Model
    from ..workers import Workers


class _Parts(torch.nn.Module):
    """Parts that move together. ComfyUI sets attributes on them, which diffusers' own refuse."""

    def __init__(self, *parts: torch.nn.Module) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)


# ComfyUI's log calls them by the names of their classes.
class BatchSDXLUNet(_Parts):
    """The UNet."""


class BatchSDXLTextEncoders(_Parts):
    """Both text encoders."""


class BatchSDXLVAE(_Parts):
    """The VAE."""


class BatchSDXLWorkers(torch.nn.Module):
    """What a worker has on ComfyUI's device: another process's weights, of which none are here."""


#: ComfyUI forgets a patcher that nobody holds. They live as long as their model.
_patchers: WeakKeyDictionary[Model, tuple[Any, ...]] = WeakKeyDictionary()

#: The digest of the workers' model, and the patcher that stands for it.
_of_workers: tuple[str, Any] = "", None


def hold(model: Model, memory: int) -> None:
    """Have a model's weights on its device, or room for them if it is offloaded.

    Args:
        model: of `load_model`, with or without LoRAs.
        memory: bytes to have free beside the weights.

    Raises:
        OutOfMemory: there is no room for the weights, though nothing else is there.
    """
    import comfy.model_management as manager

    if model.offload:
        # accelerate moves the parts, and ComfyUI shall not. At most UNet and VAE are there at once.
        parts = _bytes(model.unet) + _bytes(model.vae)
        manager.free_memory(parts + memory + manager.extra_reserved_memory(), model.device)
        return
    if model not in _patchers:
        _patchers[model] = _make_patchers(model)
    _release_relatives(model)
    with telling(
        f"enough memory on {model.device} for the model's weights, "
        f"{sum(patcher.model_size() for patcher in _patchers[model]) / 1e9:.1f} GB",
        "Turn `offload` on in Load SDXL, choose fp16 or bf16 there, or close what else uses it.",
    ):
        # diffusers cannot run on weights of which a part stays elsewhere, as ComfyUI's own models
        # can: all of them, even with --novram, which does not move them.
        manager.load_models_gpu(_patchers[model], memory_required=memory, force_full_load=True)
        for patcher in _patchers[model]:
            patcher.model.to(model.device)
    _keep(model)


def _keep(model: Model) -> None:
    """Have it live until ComfyUI has it leave the device, for the loader to give it again.

    ComfyUI drops it from its own cache when another workflow runs, or always by --cache-none. Only
    the model of the last run is kept.
    """
    import comfy.model_management as manager

    for loaded in list(manager.current_loaded_models):
        patcher = loaded.model
        if patcher is not None and isinstance(patcher.model, _Parts):
            loaded.batch_sdxl = model if patcher in _patchers[model] else None


def hold_for(workers: Workers, model: Model, memory: int) -> None:
    """Have room on ComfyUI's device for a worker there. They end when ComfyUI needs it.

    Args:
        workers: whom ComfyUI ends where it would move a model.
        model: that they have.
        memory: bytes to have free beside its weights.
    """
    global _of_workers
    import comfy.model_management as manager
    from comfy.model_patcher import ModelPatcher
    from comfy.patcher_extension import CallbacksMP

    digest, patcher = _of_workers
    if digest == model.digest and any(
        loaded.model is patcher for loaded in manager.current_loaded_models
    ):
        return

    def detached(_patcher: Any, unpatch_all: bool) -> None:
        if unpatch_all:  # else it is only told of once more
            workers.close()

    size = sum(map(_bytes, (model.unet, *model.text_encoders, model.vae)))
    patcher = ModelPatcher(
        BatchSDXLWorkers(),
        load_device=model.device,
        offload_device=manager.unet_offload_device(),
        size=size,
    )
    patcher.add_callback(CallbacksMP.ON_DETACH, detached)
    _of_workers = model.digest, patcher  # ComfyUI forgets the one of another model
    manager.load_models_gpu([patcher], memory_required=memory, force_full_load=True)
    patcher.model.model_loaded_weight_memory = size


def release(model: object) -> None:
    """Have everything leave the device, as ComfyUI does where torch's own error gets that far."""
    import comfy.model_management as manager

    # Parts that lay there when the loading of another failed are in no list of ComfyUI's.
    for patcher in _patchers.get(cast("Model", model), ()):
        patcher.detach()
    manager.unload_all_models()


def _make_patchers(model: Model) -> tuple[Any, ...]:
    import comfy.model_management as manager
    from comfy.model_patcher import ModelPatcher

    # By name, not what ComfyUI now calls `CoreModelPatcher`: that one replaces the parameters.
    return tuple(
        ModelPatcher(parts, load_device=model.device, offload_device=manager.unet_offload_device())
        for parts in (
            BatchSDXLUNet(model.unet),
            BatchSDXLTextEncoders(*model.text_encoders),
            BatchSDXLVAE(model.vae),
        )
    )


def _release_relatives(model: Model) -> None:
    """Have models that share weights take turns.

    A model and those made of it by LoRAs share all weights that no LoRA touches. Moving one's would
    move the others', which their patchers would not notice.
    """
    import comfy.model_management as manager

    relatives = [
        patcher
        for other, patchers in _patchers.items()
        if other is not model and other.vae is model.vae
        for patcher in patchers
    ]
    if relatives:
        strangers = [one for one in manager.current_loaded_models if one.model not in relatives]
        manager.free_memory(1e30, model.device, strangers)


def _bytes(part: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in part.state_dict().values())
