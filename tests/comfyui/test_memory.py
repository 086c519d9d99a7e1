"""Memory, the node cache and model folders in a real ComfyUI.

On a CPU, which plays a device with little memory; and on a GPU, where there is one.
"""

import importlib.util
import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.models.spec import DEMO_FOLDER
from PIL import Image
from safetensors.torch import save_file

#: A pack that plays a device with a budget (None for plenty), reports what lies on it, has a model
#: of ComfyUI's that takes 2 GB of it, and can make UNet calls run out of memory.
PROBE = """
import gc
import comfy.model_management as manager
import torch
from aiohttp import web
from comfy.model_patcher import ModelPatcher
from server import PromptServer

state = {"budget": None, "fails": False}


def get_free_memory(device=None, torch_free_too=False):
    used = sum(one.model_loaded_memory() for one in manager.current_loaded_models)
    free = (state["budget"] or 10**12) - used
    return (free, 0) if torch_free_too else free


def fail(module, inputs):
    if state["fails"] and type(module).__name__ == "UNet2DConditionModel":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0")


if manager.cpu_mode():
    # ComfyUI makes no room on a device that equals `cpu`, and this one does not.
    cpu = torch.device("cpu", 0)
    manager.get_torch_device = lambda: cpu
    manager.get_all_torch_devices = lambda *_, **__: [cpu]
    manager.get_free_memory = get_free_memory
torch.nn.modules.module.register_module_forward_pre_hook(fail)


@PromptServer.instance.routes.get("/probe")
async def probe(request):
    state.update((name, int(value)) for name, value in request.query.items())
    living = [
        one
        for one in gc.get_objects()
        if type(one).__name__ == "Model" and type(one).__module__.endswith("core.models.model")
    ]
    loaded = [
        [type(one.model.model).__name__, one.model_loaded_memory(), one.model_memory()]
        for one in manager.current_loaded_models
    ]
    return web.json_response({"loaded": loaded, "living": [id(one) for one in living]})


class StockModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # 1 GB on a GPU; on a CPU it is only said to be as large.
        self.layer = torch.nn.Linear(64 if manager.cpu_mode() else 4 * 10**6, 64)


size = 2 * 10**9 if manager.cpu_mode() else 0
patcher = ModelPatcher(
    StockModel(), manager.get_torch_device(), manager.unet_offload_device(), size=size
)


class UseStockModel:
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"turn": ("INT", {"default": 0})}}

    def run(self, turn):
        manager.load_models_gpu([patcher], force_full_load=True)
        return ()


class IsSameModel:
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"auto": ("BATCH_SDXL_MODEL",), "fp32": ("BATCH_SDXL_MODEL",)}}

    def run(self, auto, fp32):
        assert auto is fp32
        return ()


NODE_CLASS_MAPPINGS = {"UseStockModel": UseStockModel, "IsSameModel": IsSameModel}
"""

Tensors = dict[str, torch.Tensor]

KINDS = ("checkpoints", "diffusers", "vae", "loras", "embeddings")

DTYPES = ("auto", "fp32")

PARTS = ("BatchSDXLTextEncoders", "BatchSDXLUNet", "BatchSDXLVAE")

#: Room for the stock model or for ours, beside the 1.2 GB that ComfyUI keeps free.
BUDGET = 3 * 10**9


class Server:
    """A ComfyUI with the probe in it."""

    def __init__(self, comfyui: Any, models: Path) -> None:
        self.comfyui = comfyui
        self.models = models
        self.turn = 0

    def probe(self, **state: int) -> tuple[list[tuple[str, int]], list[int]]:
        """Class and bytes of what lies on the device, and which models of ours are alive."""
        query = "&".join(f"{name}={value}" for name, value in state.items())
        answer = self.comfyui.get(f"/probe?{query}")
        assert all(loaded in (0, size) for _, loaded, size in answer["loaded"]), answer
        on_device = [(name, loaded) for name, loaded, _ in answer["loaded"] if loaded]
        return sorted(on_device), answer["living"]

    def loaded(self) -> list[str]:
        return [name for name, _ in self.probe()[0]]

    def start(
        self, text: str = "a red circle", lora: float | None = None, **loader: Any
    ) -> dict[str, Any]:
        """Make two images, by a graph that ComfyUI has not seen yet; the history's entry."""
        self.turn += 1
        inputs = {"model_name": "demo", "dtype": "auto", **loader}
        graph = {"model": node("BatchSDXL_LoadSDXL", **inputs)}
        if lora is not None:
            strengths = {"strength_model": lora, "strength_clip": lora}
            graph["lora"] = node(
                "BatchSDXL_ApplyLora",
                model=["model", 0],
                lora_name="style.safetensors",
                **strengths,
            )
        graph |= {
            "prompts": node("BatchSDXL_PromptList", text=text, negative_prompt=""),
            "seeds": node("BatchSDXL_SeedList", seeds="1, 2"),
            "images": node(
                "BatchSDXL_BatchGenerate",
                model=["model" if lora is None else "lora", 0],
                prompts=["prompts", 0],
                seeds=["seeds", 0],
                width=64,
                height=64,
                steps=2,
                cfg=3.0,
                combine="product",
                sampler_name="euler",
                scheduler="normal",
                strength=0.5,
                # Not used without variation seeds.
                variation_strength=self.turn / 1000,
            ),
            "save": node("SaveImage", images=["images", 0], filename_prefix="image"),
        }
        entry: dict[str, Any] = self.comfyui.run(graph)
        return entry

    def images(self, **given: Any) -> list[Any]:
        entry = self.start(**given)
        assert entry["status"]["status_str"] == "success", failure(entry)["exception_message"]
        return [np.asarray(Image.open(file)) for file in self.comfyui.files(entry)]

    def use_stock_model(self) -> None:
        self.turn += 1
        entry = self.comfyui.run({"stock": node("UseStockModel", turn=self.turn)})
        assert entry["status"]["status_str"] == "success", entry["status"]

    def free(self) -> None:
        """What ComfyUI's button `Free model and node cache` does."""
        body = json.dumps({"unload_models": True, "free_memory": True}).encode()
        request = urllib.request.Request(
            self.comfyui.url + "/free", body, {"Content-Type": "application/json"}
        )
        end = time.monotonic() + 60
        while self.probe() != ([], []) and time.monotonic() < end:
            # It is not heard in the moment after a run has ended.
            urllib.request.urlopen(request).close()
            time.sleep(1)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def failure(entry: dict[str, Any]) -> dict[str, Any]:
    (said,) = [said for kind, said in entry["status"]["messages"] if kind == "execution_error"]
    return dict(said)


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


HERE = Path(__file__).parent

#: A checkpoint's tensors, and the diffusers folder that they are of.
folder, tensors = (
    getattr(module(HERE.parent / "models" / "conftest.py"), name) for name in ("folder", "tensors")
)


@pytest.fixture(scope="module")
def demo() -> Model:
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_folder: Path,
    folder: Path,
    tensors: Tensors,
    demo: Model,
) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("memory")
    models = root / "my models"
    for kind in KINDS:
        (models / kind).mkdir(parents=True)
    save_file(tensors, models / "checkpoints" / "single.safetensors")
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(DEMO_FOLDER / "tokenizer" / file, models / "checkpoints" / file)
    shutil.copytree(tiny_folder, models / "diffusers" / "mine" / "tiny")
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    shutil.copy(vae, models / "vae" / "own.safetensors")
    save_lora(models / "loras" / "style.safetensors", demo)
    save_file(
        {"clip_l": torch.ones(1, 32), "clip_g": torch.ones(1, 32)},
        models / "embeddings" / "glow.safetensors",
    )
    (models / "embeddings" / "broken.safetensors").write_bytes(b"?")
    comfyui = start(root, models)
    yield Server(comfyui, models)
    comfyui.stop()


def start(root: Path, models: Path, *flags: str, cpu: bool = True) -> Any:
    (root / "packs" / "probe").mkdir(parents=True)
    (root / "packs" / "probe" / "__init__.py").write_text(PROBE)
    paths = root / "paths.yaml"
    paths.write_text(
        "\n".join(
            [
                "probe:",
                f"  custom_nodes: {json.dumps(str(root / 'packs'))}",
                "mine:",
                f"  base_path: {json.dumps(str(models))}",
                *(f"  {kind}: {kind}" for kind in KINDS),
            ]
        )
    )
    flags = ("--extra-model-paths-config", str(paths), *flags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCH_SDXL_STORE_GB", "0")  # what is kept would need no model
        return module(HERE / "conftest.py").ComfyUI(root / "base", *flags, cpu=cpu)


def save_lora(path: Path, model: Model, value: float = 0.1) -> None:
    weight = model.unet.conv_in.weight
    save_file(
        {
            "lora_unet_conv_in.lora_up.weight": torch.full((len(weight), 1, 1, 1), value),
            "lora_unet_conv_in.lora_down.weight": torch.ones(1, *weight.shape[1:]),
        },
        path,
    )


def size(*parts: torch.nn.Module) -> int:
    return sum(tensor.nbytes for part in parts for tensor in part.state_dict().values())


def test_a_models_parts_are_among_comfyuis_own(server: Server, demo: Model) -> None:
    server.images()
    sizes = (size(*demo.text_encoders), size(demo.unet), size(demo.vae))
    assert server.probe()[0] == list(zip(PARTS, sizes, strict=True))
    log = server.comfyui.log.read_text("utf-8", "replace")
    assert all(f"Requested to load {name}" in log for name in PARTS)


def test_others_leave_for_it_and_it_leaves_for_others(server: Server) -> None:
    expected = server.images()
    server.probe(budget=BUDGET)
    try:
        server.use_stock_model()
        assert server.loaded() == ["StockModel"]
        assert same(server.images(), expected)
        assert server.loaded() == sorted(PARTS)
        server.use_stock_model()
        assert server.loaded() == ["StockModel"]
    finally:
        server.probe(budget=0)
    assert same(server.images(), expected)
    assert server.loaded() == sorted([*PARTS, "StockModel"])


def test_models_that_share_weights_take_turns(server: Server) -> None:
    plain = server.images()
    changed = server.images(lora=0.5)
    assert not same(plain, changed)
    assert [name for name in server.loaded() if name in PARTS] == sorted(PARTS)
    assert same(server.images(), plain)
    assert [name for name in server.loaded() if name in PARTS] == sorted(PARTS)
    assert same(server.images(lora=0.5), changed)


def test_an_offloaded_model_is_left_to_accelerate_which_is_given_room(server: Server) -> None:
    expected = server.images()
    server.free()
    server.probe(budget=BUDGET)
    try:
        server.use_stock_model()
        assert same(server.images(offload=True), expected)
        assert server.loaded() == ["StockModel"]  # with it there is room enough
        server.probe(budget=2 * 10**9 + 10**6)
        assert same(server.images(offload=True), expected)
        assert server.loaded() == []
    finally:
        server.probe(budget=0)


def test_free_releases_everything(server: Server) -> None:
    expected = server.images(lora=0.5)
    assert server.probe()[1]
    server.free()
    assert server.probe() == ([], [])
    assert same(server.images(lora=0.5), expected)


def test_too_little_memory_is_told_and_everything_leaves(server: Server) -> None:
    expected = server.images()
    server.probe(fails=1)
    try:
        said = failure(server.start(text="a blue square"))
    finally:
        server.probe(fails=0)
    assert said["exception_type"] == "batch_sdxl.OutOfMemory"
    assert "64 x 64, 32 rows per UNet call, in float32" in said["exception_message"]
    assert "got `CUDA out of memory. Tried to allocate 3.00 GiB`" in said["exception_message"]
    assert "set `rows_per_call` to 2" in said["exception_message"]
    assert server.loaded() == []
    assert same(server.images(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_so_it_is_on_a_gpu(tmp_path: Path) -> None:
    total = torch.cuda.mem_get_info()[1] / 2**30
    comfyui = start(tmp_path, tmp_path, "--reserve-vram", f"{total - 1.7:.1f}", cpu=False)
    try:
        server = Server(comfyui, tmp_path)
        expected = server.images()
        assert server.loaded() == sorted(PARTS)
        server.use_stock_model()
        assert server.loaded() == ["StockModel"]
        assert same(server.images(), expected)
        assert server.loaded() == sorted(PARTS)
        server.free()
        assert same(server.images(), expected)
    finally:
        comfyui.stop()


def test_folders_of_extra_model_paths_are_offered(server: Server) -> None:
    def choices(kind: str, name: str) -> list[str]:
        info = server.comfyui.get(f"/object_info/BatchSDXL_{kind}")[f"BatchSDXL_{kind}"]
        inputs = {**info["input"]["required"], **info["input"].get("optional", {})}
        return list(inputs[name][0])

    assert choices("LoadSDXL", "model_name") == ["demo", "single.safetensors", "mine/tiny"]
    assert choices("LoadSDXL", "vae")[1:] == ["own.safetensors"]
    assert choices("ApplyLora", "lora_name") == ["style.safetensors"]


def test_their_files_are_loaded(server: Server) -> None:
    server.images(model_name="single.safetensors")
    own = server.images(model_name="mine/tiny")
    assert not same(own, server.images(model_name="mine/tiny", vae="own.safetensors"))
    called = server.images(model_name="mine/tiny", text="embedding:glow")
    assert not same(own, called)
    assert (
        "embedding:none"
        in failure(server.start(model_name="mine/tiny", text="embedding:none"))["exception_message"]
    )


def test_a_model_is_loaded_once(server: Server) -> None:
    # For ComfyUI these are two, since their inputs differ; fp32 is what auto stands for.
    graph = {dtype: node("BatchSDXL_LoadSDXL", model_name="demo", dtype=dtype) for dtype in DTYPES}
    graph["same"] = node("IsSameModel", **{dtype: [dtype, 0] for dtype in DTYPES})
    assert server.comfyui.run(graph)["status"]["status_str"] == "success"


def test_a_model_outlives_another_workflow_until_it_leaves_the_device(server: Server) -> None:
    server.free()
    expected = server.images()
    (model,) = server.probe()[1]
    server.use_stock_model()
    server.use_stock_model()  # ComfyUI has dropped all else from its cache
    assert server.probe()[1] == [model]
    assert same(server.images(), expected)
    assert server.probe()[1] == [model]
    server.use_stock_model()
    server.probe(budget=BUDGET)
    try:
        server.images(model_name="mine/tiny")
        server.use_stock_model()
        server.use_stock_model()
        assert server.probe()[1] == []
    finally:
        server.probe(budget=0)


def test_a_replaced_file_is_loaded_again_and_a_touched_one_is_not(
    server: Server, demo: Model, tensors: Tensors
) -> None:
    checkpoint, lora = (
        server.models / name
        for name in ("checkpoints/single.safetensors", "loras/style.safetensors")
    )
    before = server.images(model_name="single.safetensors")
    living = server.probe()[1]
    os.utime(checkpoint)
    assert same(server.images(model_name="single.safetensors"), before)
    assert server.probe()[1] == living
    name = "model.diffusion_model.out.2.bias"
    save_file(tensors | {name: tensors[name] + 1}, checkpoint)
    assert not same(server.images(model_name="single.safetensors"), before)

    before = server.images(lora=0.5)
    save_lora(lora, demo, 0.3)
    assert not same(server.images(lora=0.5), before)
