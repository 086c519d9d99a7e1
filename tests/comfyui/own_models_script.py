"""Runs in ComfyUI's interpreter, for test_own_models.py."""

# ruff: noqa: TID251, E402 - it runs in ComfyUI, whose arguments come first

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
sys.argv = [sys.argv[0], "--cpu"]

import comfy.options

comfy.options.enable_args_parsing()

import comfy.model_base
import comfy.sample
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from batch_sdxl.core import Engine, ImageRequest, SourceImage, apply_lora, load_model
from batch_sdxl.core.engine.conditions.side import SideCondition
from batch_sdxl.core.engine.conditions.size import SizeCondition
from batch_sdxl.core.engine.conditions.text import TextCondition
from batch_sdxl.core.engine.denoiser import Denoiser
from batch_sdxl.core.engine.rows import Rows
from batch_sdxl.core.errors import BatchSDXLError
from batch_sdxl.core.models.vae import encode
from batch_sdxl.core.numerics import Geometry
from batch_sdxl.host.comfyui.own_models.model import ComfyModel
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_easycache import EasyCacheNode
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, RescaleCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from demo_parts import UNET, make_clip, make_model, make_vae
from safetensors.torch import save_file

SIZE = 128
STEPS = 4

BASE = ImageRequest(
    prompt="a (red:1.3) circle",
    seed=3,
    width=SIZE,
    height=SIZE,
    num_inference_steps=STEPS,
    guidance_scale=5.0,
    scheduler="euler:normal",
    empty_negative="empty",
)
PICTURE_PIXELS = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1))
PICTURE = SourceImage.of(PICTURE_PIXELS, "a")
REQUESTS = {
    "plain": BASE,
    "long and negative": replace(
        BASE, prompt="a small blue star, " * 30, negative_prompt="dim", seed=4
    ),
    "karras": replace(BASE, scheduler="dpmpp_2m:karras", guidance_scale=1.0),
}
OF_A_PICTURE = replace(BASE, image=PICTURE, strength=0.6, num_inference_steps=6)


def use(node: Any, *given: Any) -> Any:
    """What a node of ComfyUI's makes of a model, be it of the newer kind or the older."""
    if hasattr(node, "execute"):
        return node.execute(*given).args[0]
    return getattr(node(), node.FUNCTION)(*given)[0]


def images(model: Any, requests: Any) -> list[torch.Tensor]:
    found = sorted(Engine(model).generate(list(requests)), key=lambda image: image.index)
    return [image.decoded for image in found]


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def stock(model: Any, clip: Any, vae: Any, request: ImageRequest) -> torch.Tensor:
    """The image that KSampler and VAE Decode make."""

    def encode_text(text: str) -> Any:
        embeds, pooled = clip.encode_from_tokens(clip.tokenize(text), return_pooled=True)
        return [[embeds, {"pooled_output": pooled, "width": SIZE, "height": SIZE}]]

    latent = torch.zeros(1, 4, SIZE // 8, SIZE // 8)
    noise = comfy.sample.prepare_noise(latent, request.seed, None)
    sampler, _, scheduler = request.scheduler.partition(":")
    done = comfy.sample.sample(
        model,
        noise,
        request.num_inference_steps,
        request.guidance_scale,
        sampler,
        scheduler,
        encode_text(request.prompt),
        encode_text(""),
        latent,
        disable_pbar=True,
        seed=request.seed,
    )
    return torch.as_tensor(vae.decode(done)[0])


def told(do: Callable[[], Any]) -> str:
    try:
        do()
    except BatchSDXLError as error:
        return str(error)
    return "nothing"


def couples(h: torch.Tensor, skip: torch.Tensor, _options: Any) -> Any:
    return h - 0.1 * h.mean(dim=0, keepdim=True), skip


class Opaque:
    def __init__(self) -> None:
        self.numbers = iter([1, 2, 3])  # which may be at any of them

    def __call__(self, h: torch.Tensor, skip: torch.Tensor, _options: Any) -> Any:
        return h, skip


def patched(model: Any, patch: Any) -> Any:
    copy = model.clone()
    copy.set_model_output_block_patch(patch)
    return copy


def wrapped(model: Any) -> Any:
    """A UNet of whose every call a function of a node makes less."""
    copy = model.clone()
    copy.add_wrapper_with_key("apply_model", "less", lambda call, *a, **b: call(*a, **b) * 0.9)
    return copy


def tiny(kind: Any, **changes: Any) -> Any:
    """A MODEL of another family, with weights of no matter which numbers."""
    made = kind({**UNET, "model_channels": 32, "num_head_channels": 32, **changes})
    made.unet_config |= {"num_heads": -1, "num_head_channels": 32}
    made.unet_config |= changes
    model = made.get_model({}, device=torch.device("cpu"))
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


#: SDXL as ComfyUI knows it by its sizes, of the depth of Segmind's Vega and of one width.
VEGA = {
    **UNET,
    "model_channels": 320,
    "channel_mult": [1, 1, 1],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "transformer_depth_middle": 2,
    "num_head_channels": 64,
    "context_dim": 2048,
    "adm_in_channels": 2816,
}


def detected(clip: Any, vae: Any) -> dict[str, Any]:
    """What comes of a file that ComfyUI's own loader takes for SDXL: a call of its UNet."""
    draw = torch.Generator().manual_seed(0)
    file = FOLDER / "vega.safetensors"
    unet = UNetModel(**VEGA, device=torch.device("cpu"))
    weights = {
        f"model.diffusion_model.{name}": (
            torch.randn(tensor.shape, generator=draw) * max(1, tensor[0].numel()) ** -0.5
        ).half()
        for name, tensor in unet.state_dict().items()
    }
    save_file(weights, file)
    model = comfy.sd.load_checkpoint_guess_config(str(file), output_vae=False, output_clip=False)[0]
    own = ComfyModel(model, clip, vae, file.name)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    embeds, pooled = drawn(1, 77, 2048), drawn(1, 1280)
    sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]])
    rows = Rows(
        drawn(1, 4, 16, 16),
        torch.tensor([500.0]),
        (
            TextCondition((embeds,), pooled),
            SizeCondition(sizes),
            SideCondition(torch.tensor([False])),
        ),
    )
    (said,) = Denoiser(own)(rows, Geometry(2))
    sampling = model.get_model_object("model_sampling")
    sigma = sampling.sigma(rows.timestep)
    noisy = rows.sample * (sigma**2 + 1) ** 0.5
    size = {"width": 1024, "height": 1024}
    vectors = model.model.encode_adm(pooled_output=pooled, **size)
    guess = model.model.apply_model(noisy, sigma, c_crossattn=embeds, y=vectors)
    return {
        "kind": type(model.model.model_config).__name__,
        "difference": largest(said, (noisy - guess)[0] / sigma),
        "size": float(said.std()),
    }


def look() -> dict[str, Any]:
    model, clip, vae = make_model(), make_clip(str(FOLDER)), make_vae()
    demo = load_model("demo", device="cpu", dtype="fp32")
    own = ComfyModel(model, clip, vae, "demo")
    seen: dict[str, Any] = {}

    expected, made = images(demo, REQUESTS.values()), images(own, REQUESTS.values())
    pairs = zip(REQUESTS, expected, made, strict=True)
    seen["parity"] = {name: largest(one, other) for name, one, other in pairs}
    mean, _ = encode(demo, PICTURE_PIXELS)
    own_mean, deviation = own.encode_image(PICTURE_PIXELS, None)
    seen["parity"]["VAE"] = largest(mean, own_mean) + float(deviation.abs().max())

    loras: dict[str, Any] = {}
    for kind in ("lokr", "dora"):
        file = FOLDER / f"{kind}.safetensors"
        tensors = comfy.utils.load_torch_file(str(file))
        loras[kind] = comfy.sd.load_lora_for_models(model, clip, tensors, 0.8, 0.8)
    seen["loras"] = {}
    for kind, (with_lora, its_clip) in loras.items():
        (mine,) = images(ComfyModel(with_lora, its_clip, vae, kind), [BASE])
        (ours,) = images(apply_lora(demo, FOLDER / f"{kind}.safetensors", 0.8), [BASE])
        seen["loras"][kind] = {
            "against ours": largest(mine, ours),
            "against none": largest(mine, made[0]),
        }

    kinds = {
        "plain": (model, BASE),
        "cfg 1": (model, replace(BASE, guidance_scale=1.0)),
        "FreeU": (use(FreeU_V2, model, 1.3, 1.4, 0.9, 0.2), BASE),
        "PAG": (use(PerturbedAttentionGuidance, model, 3.0), BASE),
        "RescaleCFG": (use(RescaleCFG, model, 0.7), BASE),
        "wrapper": (wrapped(model), BASE),
        "v_prediction": (use(ModelSamplingDiscrete, model, "v_prediction", False), BASE),
    }
    seen["stock"] = {}
    for name, (kind, request) in kinds.items():
        (mine,) = images(ComfyModel(kind, clip, vae, name), [request])
        seen["stock"][name] = largest(mine, stock(kind, clip, vae, request))

    seen["promise"] = {}
    for name in ("plain", "FreeU", "PAG", "wrapper", "FreeU, rows in one call"):
        it = ComfyModel(kinds[name.partition(",")[0]][0], clip, vae, name)
        it.takes_rows_alone = "," not in name  # otherwise as on a GPU
        requests = [*REQUESTS.values(), OF_A_PICTURE]
        together = images(it, requests)
        alone = [images(it, [request])[0] for request in requests]
        pairs_of = zip(together, alone, strict=True)
        seen["promise"][name] = [torch.equal(one, other) for one, other in pairs_of]

    def digest(a_model: Any, a_clip: Any = clip) -> str:
        return ComfyModel(a_model, a_clip, vae, "x").digest

    last = clip.clone()
    last.clip_layer(-1)
    tensors = comfy.utils.load_torch_file(str(FOLDER / "lokr.safetensors"))
    again = make_model(), make_clip(str(FOLDER))
    seen["digests"] = {
        "plain": own.digest,
        "after runs": digest(model),
        "again": digest(*again),
        "lokr": digest(*loras["lokr"]),
        "lokr again": digest(*comfy.sd.load_lora_for_models(*again, tensors, 0.8, 0.8)),
        "dora": digest(*loras["dora"]),
        "FreeU": digest(kinds["FreeU"][0]),
        "FreeU again": digest(use(FreeU_V2, again[0], 1.3, 1.4, 0.9, 0.2)),
        "FreeU less": digest(use(FreeU_V2, model, 1.2, 1.4, 0.9, 0.2)),
        "clip 3": digest(model, last),
        "wrapper": digest(kinds["wrapper"][0]),
    }

    compiled = model.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    it = ComfyModel(compiled, clip, vae, "", unpromised=True)
    (mine,) = images(it, [BASE])
    seen["compiled"] = largest(mine, made[0])

    refusal = told(partial(ComfyModel, compiled, clip, vae, ""))
    seen["unpromised"] = {"compiled": (refusal, it.made_with.unpromised)}
    for name, kind in {
        "couples": patched(model, couples),
        "opaque": patched(model, Opaque()),
        "SAG": use(SelfAttentionGuidance, model, 0.5, 2.0),
        "APG": use(APG, model, 1.0, 5.0, 0.5),
    }.items():
        marked = ComfyModel(kind, clip, vae, name, unpromised=True).made_with.unpromised
        seen["unpromised"][name] = told(partial(ComfyModel, kind, clip, vae, "")), marked

    other_vae = make_vae()
    other_vae.latent_channels = 16
    seen["refused"] = {
        "SD 1.5": told(
            lambda: ComfyModel(
                tiny(comfy.supported_models.SD15, num_classes=None, adm_in_channels=None),
                *(clip, vae, ""),
            )
        ),
        "inpainting": told(
            lambda: ComfyModel(tiny(comfy.supported_models.SDXL, in_channels=9), clip, vae, "")
        ),
        "lcm": told(
            lambda: ComfyModel(use(ModelSamplingDiscrete, model, "lcm", False), clip, vae, "")
        ),
        "clip": told(lambda: ComfyModel(model, model, vae, "")),
        "cache": told(
            lambda: ComfyModel(use(EasyCacheNode, model, 0.2, 0.15, 0.95, False), clip, vae, "")
        ),
        "vae": told(lambda: ComfyModel(model, clip, other_vae, "")),
    }

    seen["detected"] = detected(clip, vae)

    word = replace(BASE, prompt="a circle, embedding:word, red")
    (image,) = Engine(own).generate([word])
    (none,) = images(own, [replace(BASE, prompt="a circle, red")])
    missing = replace(BASE, prompt="embedding:nothing")
    seen["inversions"] = {
        "missing": told(lambda: images(own, [missing])),
        "record": dict(image.record.inversions),
        "difference": largest(image.decoded, none),
    }
    return seen


with torch.inference_mode():
    (FOLDER / "seen.json").write_text(json.dumps(look()), "utf-8")
