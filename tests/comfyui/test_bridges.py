"""The bridges in a real ComfyUI, in a graph of its own nodes, on an SDXL in its own classes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from batch_sdxl.tests.comfyui.conftest import ComfyUI
from safetensors.torch import load_file

#: A pack with one node: ComfyUI's own SDXL, tiny, with seeded random weights. Embeddings are as
#: wide as SDXL's; layers are few.
TINY_SDXL = """
import comfy.model_management, comfy.model_patcher, comfy.sd, comfy.sdxl_clip
import comfy.supported_models, comfy.supported_models_base
import torch

UNET = dict(
    image_size=32, in_channels=4, out_channels=4, model_channels=64, channel_mult=[1, 2],
    num_res_blocks=[1, 1], transformer_depth=[0, 1], transformer_depth_output=[0, 0, 1, 1],
    transformer_depth_middle=1, context_dim=2048, adm_in_channels=2816, num_classes="sequential",
    use_spatial_transformer=True, use_linear_in_transformer=True, legacy=False,
    use_temporal_attention=False, dtype=torch.float32,
)
TEXT = {"num_hidden_layers": 3, "intermediate_size": 256}


def fill(module):
    draw = torch.Generator().manual_seed(0)
    for name, values in sorted(module.named_parameters()):
        if values.ndim > 1:
            values.data = torch.randn(values.shape, generator=draw) * values[0].numel() ** -0.5
        elif values.ndim == 1:
            values.data = torch.full(values.shape, float(name.endswith("weight")))


class TinySDXL:
    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "run"
    CATEGORY = "test"
    made = None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        if TinySDXL.made is None:
            with torch.inference_mode(False):
                TinySDXL.made = self.make()
        return TinySDXL.made

    def make(self):
        cpu = torch.device("cpu")
        model = comfy.supported_models.SDXL(UNET).get_model({}, device=cpu)
        fill(model.diffusion_model)
        parts = (comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel)
        options = {"clip_l_model_config": TEXT, "clip_g_model_config": TEXT, "dtype": torch.float32}
        clip = comfy.sd.CLIP(
            comfy.supported_models_base.ClipTarget(*parts), model_options=options
        )
        fill(clip.cond_stage_model)
        return comfy.model_patcher.ModelPatcher(model, cpu, cpu), clip


NODE_CLASS_MAPPINGS = {"TinySDXL": TinySDXL}
"""

#: The second is longer than one chunk of 77 tokens, the third is weighted. The first has the prompt
#: of the fourth, and the seed of the third.
PROMPTS = ("a red circle", "a small blue star, " * 20, "a (green:1.3) square", "a red circle")
NEGATIVE = "dim"
SEEDS = (7, 2**53 + 1, 7, 12)
STEPS = 6

#: 9 x 9 latents: a size at which ComfyUI can't draw image k of a batch alone.
SIZE = 72

#: Of an image's standard deviation; a batch and one image run other kernels.
ROUNDING = 2e-4

#: What ComfyUI can't do for each image of a batch, and the reason that is given.
REFUSED = {"dpm_adaptive": "error of all images together"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("bridges")
    (folder / "packs" / "tiny_sdxl").mkdir(parents=True)
    (folder / "packs" / "tiny_sdxl" / "__init__.py").write_text(TINY_SDXL)
    paths = folder / "paths.yaml"
    paths.write_text(f"tiny:\n  custom_nodes: {json.dumps(str(folder / 'packs'))}\n")
    server = ComfyUI(folder / "base", "--extra-model-paths-config", str(paths))
    yield server
    server.stop()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def shared(sampler: str) -> dict[str, Any]:
    return {
        "tiny": node("TinySDXL"),
        "prompts": node("BatchSDXL_PromptList", text="\n".join(PROMPTS), negative_prompt=NEGATIVE),
        "seeds": node("BatchSDXL_SeedList", seeds=", ".join(map(str, SEEDS))),
        "empty": node("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=1),
        "sampler": node("KSamplerSelect", sampler_name=sampler),
        "sigmas": node(
            "BasicScheduler", model=["tiny", 0], scheduler="normal", steps=STEPS, denoise=1.0
        ),
    }


def sampled(name: str, positive: Any, negative: Any, **wired: Any) -> dict[str, Any]:
    """A guider, ComfyUI's sampler node and a saved latent."""
    return {
        f"{name}_guider": node(
            "CFGGuider", model=["tiny", 0], positive=positive, negative=negative, cfg=5.0
        ),
        f"{name}_out": node(
            "SamplerCustomAdvanced", guider=[f"{name}_guider", 0], sigmas=["sigmas", 0], **wired
        ),
        f"{name}_save": node("SaveLatent", samples=[f"{name}_out", 0], filename_prefix=name),
    }


def together(name: str = "together", seeds: Any = ("encode", 2)) -> dict[str, Any]:
    """All images in one batch, by the bridges."""
    return {
        "encode": node(
            "BatchSDXL_PromptsToConditioning",
            clip=["tiny", 1],
            prompts=["prompts", 0],
            seeds=["seeds", 0],
            width=1024,
            height=1024,
        ),
        "noise": node(
            "BatchSDXL_SeedsToNoise",
            seeds=list(seeds),
            sampler=["sampler", 0],
            latent=["empty", 0],
        ),
        **sampled(
            name,
            ["encode", 0],
            ["encode", 1],
            noise=["noise", 0],
            sampler=["noise", 1],
            latent_image=["noise", 2],
        ),
    }


def alone(number: int) -> dict[str, Any]:
    """One image, by ComfyUI's own nodes only."""
    size = dict.fromkeys(("width", "height", "target_width", "target_height"), 1024)
    texts = {"positive": PROMPTS[number], "negative": NEGATIVE}
    nodes = {
        f"{number}_{kind}": node(
            "CLIPTextEncodeSDXL",
            clip=["tiny", 1],
            text_g=text,
            text_l=text,
            crop_w=0,
            crop_h=0,
            **size,
        )
        for kind, text in texts.items()
    }
    nodes[f"{number}_noise"] = node("RandomNoise", noise_seed=SEEDS[number])
    wired = {
        "noise": [f"{number}_noise", 0],
        "sampler": ["sampler", 0],
        "latent_image": ["empty", 0],
    }
    conditioning = ([f"{number}_positive", 0], [f"{number}_negative", 0])
    return nodes | sampled(f"alone{number}", *conditioning, **wired)


def latents(server: Any, graph: dict[str, Any]) -> dict[str, Any]:
    """What a graph saves, by the name it saves under."""
    output = server.base / "output"
    for old in output.glob("*.latent"):
        old.unlink()
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return {
        re.sub(r"_\d+_$", "", file.stem): load_file(file)["latent_tensor"]
        for file in output.glob("*.latent")
    }


def failure(server: Any, graph: dict[str, Any]) -> str:
    """What a graph fails with."""
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "error"
    (message,) = [m[1] for m in entry["status"]["messages"] if m[0] == "execution_error"]
    return str(message["exception_message"])


def check(server: Any, graph: dict[str, Any], name: str) -> None:
    """Compare the batch that `graph` makes with what ComfyUI's own nodes make one by one."""
    for number in range(len(SEEDS)):
        graph = graph | alone(number)
    made = latents(server, graph)
    assert made["together"].shape == (4, 4, 9, 9)
    references = [made[f"alone{number}"][0] for number in range(len(SEEDS))]
    for number, (image, reference) in enumerate(zip(made["together"], references, strict=True)):
        difference = (image - reference).abs().max() / reference.std()
        assert difference < ROUNDING, (name, number, float(difference))
        apart = [(image - other).abs().max() / reference.std() for other in references]
        assert sum(value < 10 * ROUNDING for value in apart) == 1, (name, number, apart)


@pytest.mark.parametrize("name", ["euler", "ddim", "euler_ancestral", "dpmpp_2m_sde", "uni_pc"])
def test_an_image_of_a_batch_is_what_comfyui_makes_of_its_prompt_and_seed_alone(
    server: Any, name: str
) -> None:
    check(server, shared(name) | together(), name)


@pytest.mark.slow
def test_so_it_is_for_every_sampler_of_this_comfyui_or_the_node_says_why_not(server: Any) -> None:
    info = server.get("/object_info/KSamplerSelect")["KSamplerSelect"]
    choice = info["input"]["required"]["sampler_name"]
    for name in choice[1]["options"] if choice[0] == "COMBO" else choice[0]:
        graph = shared(name) | together()
        if name in REFUSED:
            assert REFUSED[name] in failure(server, graph)
        else:
            check(server, graph, name)


@pytest.mark.parametrize("name", ["euler", "ddim", "dpmpp_2m_sde"])
def test_so_it_is_within_a_mask(server: Any, name: str) -> None:
    graph = shared(name) | together()
    graph["zeros"] = graph["empty"]
    graph["mask"] = node("SolidMask", value=0.5, width=SIZE, height=SIZE)
    graph["empty"] = node("SetLatentNoiseMask", samples=["zeros", 0], mask=["mask", 0])
    check(server, graph, name)


def test_a_sampler_that_cannot_be_right_is_refused(server: Any) -> None:
    message = failure(server, shared("dpm_adaptive") | together())
    assert "error of all images together" in message


def test_lists_that_do_not_fit_are_refused_where_comfyui_would_cut_them_off(server: Any) -> None:
    graph = shared("euler") | together(seeds=("three", 0))
    graph["three"] = node("BatchSDXL_SeedList", seeds="1..3")
    assert "4 positive prompts and 3 images" in failure(server, graph)


def test_a_sampler_past_the_node_is_refused(server: Any) -> None:
    graph = shared("euler_ancestral") | together()
    graph["together_out"]["inputs"]["sampler"] = ["sampler", 0]
    assert failure(server, graph)
