"""Runs in ComfyUI's interpreter, for test_workers.py: a CPU plays a device with little memory."""

# ruff: noqa: TID251, E402 - it runs in ComfyUI, whose arguments come first

import json
import sys
from typing import Any

sys.argv = [sys.argv[0], "--cpu"]

import comfy.options

comfy.options.enable_args_parsing()

import comfy.model_management as manager
import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.host.comfyui.host import ComfyHost
from comfy.model_patcher import ModelPatcher

DEVICE = torch.device("cpu", 0)  # ComfyUI makes no room on one that equals `cpu`
TOTAL = 4_000_000_000


def free(device: Any = None, torch_free_too: bool = False) -> Any:
    left = TOTAL - sum(one.model_loaded_memory() for one in manager.current_loaded_models)
    return (left, 0) if torch_free_too else left


manager.get_free_memory = free
manager.get_torch_device = lambda: DEVICE
manager.get_all_torch_devices = lambda *_, **__: [DEVICE]


class Workers:
    """They note when ComfyUI ends them."""

    ended = 0

    def close(self) -> None:
        self.ended += 1


ComfyHost.workers = workers = Workers()  # type: ignore[assignment]
seen: dict[str, Any] = {}


def hold(model: Model) -> None:
    with ComfyHost().holding(model, 1000, elsewhere=True):
        pass


def note(name: str) -> None:
    kinds = [type(one.model.model).__name__ for one in manager.current_loaded_models]
    seen[name] = [kinds.count("BatchSDXLWorkers"), kinds.count("Linear"), workers.ended]


def other(size: int) -> ModelPatcher:
    """Another model of ComfyUI's, on the device."""
    module: Any = torch.nn.Linear(1, 1)
    home = manager.unet_offload_device()
    patcher = ModelPatcher(module, load_device=DEVICE, offload_device=home, size=size)
    manager.load_models_gpu([patcher])
    module.model_loaded_weight_memory = size
    return patcher


model = load_model("demo", device=str(DEVICE), dtype="fp32")
hold(model)
note("held")
hold(model)
note("held again")
manager.unload_all_models()
note("freed")
hold(model)
small = other(2_000_000_000)
note("beside a small model")
large = other(3_000_000_000)
note("for a large model")
sys.stdout.write(json.dumps(seen) + "\n")
