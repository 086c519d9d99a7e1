"""The messages that help pages explain are the ones that people get: each is provoked here."""

import json
import re
import struct
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import Engine, Model, SizedRequest
from batch_sdxl.core.engine.memory import telling_of_images
from batch_sdxl.core.errors import BatchSDXLError
from batch_sdxl.core.numerics import Geometry
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.prompt_list import parse_prompts
from batch_sdxl.host import host, workers
from batch_sdxl.host.comfyui.host import not_there
from batch_sdxl.tests.records import make_record
from PIL import Image
from safetensors.torch import save_file

DOCS = Path(__file__).parents[1] / "web" / "docs"

#: How a message stands in a page: the start of an entry of a list, in code.
QUOTE = re.compile(r"^- (`+)(Expected .*?)\1:$", re.MULTILINE)

RECORD = make_record(prompt="a red heart", seed=3, width=128, height=128)


class Folders(host.Host):
    """ComfyUI's folders below one folder; has a tiny model at hand."""

    def __init__(self, root: Path, model: Model) -> None:
        self.root = root
        self.model = model
        (root / "input").mkdir(parents=True)

    def input_folders(self) -> list[Path]:
        return [self.root / "input", host.EXAMPLES]

    def output_folder(self) -> Path:
        return self.root / "output"

    def model_path(self, name: str) -> Path:
        return self.file_path("checkpoints", name)

    def file_path(self, kind: str, name: str) -> Path:
        folder = self.root / "models" / kind
        if not (folder / name).exists():
            raise not_there(kind, name, [folder], [])
        return folder / name

    def write(self, place: str, content: str | bytes = b"") -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def header(shapes: dict[str, tuple[int, ...]], missing: int = 0) -> bytes:
    """A safetensors file of zeros, with some bytes cut off."""
    entries, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + bytes(offset - missing)


def run(node: str, **inputs: Any) -> Any:
    return NODE_CLASS_MAPPINGS[f"BatchSDXL_{node}"]().run(**inputs)


def load_model(folders: Folders, name: str, content: bytes | None = None, **inputs: Any) -> None:
    if content is not None:
        folders.write(f"models/checkpoints/{name}", content)
    run("LoadSDXL", model_name=name, dtype="fp32", **inputs)


def load_part(folders: Folders) -> None:
    folders.write("models/checkpoints/part/config.json")
    load_model(folders, "part")


def without_compiler(folders: Folders) -> None:
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        load_model(folders, "demo", compile=True)


def lora(folders: Folders, tensors: dict[str, torch.Tensor] | None) -> None:
    path = folders.root / "models" / "loras" / "ink.safetensors"
    path.parent.mkdir(parents=True)
    if tensors is not None:
        save_file(tensors, path)
    run("ApplyLora", model=folders.model, lora_name=path.name, strength_model=1, strength_clip=1)


def prompt_list(text: str = "", **inputs: Any) -> None:
    run("PromptList", text=text, negative_prompt="", **inputs)


def prompt_file(folders: Folders, content: str, name: str = "rows.csv", **inputs: Any) -> None:
    folders.write(f"input/{name}", content)
    prompt_list(file=name, **inputs)


def silent_picture(folders: Folders) -> None:
    (folders.root / "input/cats").mkdir()
    Image.new("RGB", (8, 8)).save(folders.root / "input/cats/cat.png")
    prompt_list(file="cats")


def images(folders: Folders, folder: str, **inputs: Any) -> None:
    given = {"width": 0, "height": 0, "fit": "crop", "limit": 0, **inputs}
    run("LoadImageBatch", folder=folder, **given)


def no_pictures(folders: Folders) -> None:
    (folders.root / "input/empty").mkdir()
    images(folders, "empty")


def no_picture(folders: Folders) -> None:
    folders.write("input/cats/3.png", "not an image")
    images(folders, "cats")


def pictures(folders: Folders, **inputs: Any) -> None:
    (folders.root / "input/cats").mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8)).save(folders.root / f"input/cats/{number}.png")
    images(folders, "cats", **inputs)


def latents(channels: int = 4, **more: Any) -> dict[str, Any]:
    return {"samples": torch.ones(1, channels, 64, 64), **more}


def generate(folders: Folders, prompts: str | tuple[Prompt, ...] = "a", **inputs: Any) -> None:
    settings = {
        "width": 0,
        "height": 0,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "strength": 0.5,
        "combine": "zip",
        "seeds": (1,),
        **inputs,
    }
    given = parse_prompts(prompts) if isinstance(prompts, str) else prompts
    lists = {name: [value] for name, value in settings.items() if value is not None}
    run("BatchGenerate", model=[folders.model], prompts=[given], **lists)


def no_memory(folders: Folders) -> None:
    card: Any = types.SimpleNamespace(
        device=torch.device("cuda"), dtype=torch.float16, offload=False, full_calls=False
    )
    with telling_of_images(card, Geometry(8), 1024, 1024):
        raise RuntimeError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has ...")


def no_ray(folders: Folders) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "find_spec", lambda name: None)
        workers.check_ray()


def save(
    count: int = 1, rows: int = 1, prefix: str = "batch", record: Any = RECORD, **inputs: Any
) -> None:
    run(
        "SaveImageBatch",
        images=[torch.zeros(count, 8, 8, 3)],
        rows=[[record] * rows],
        filename_prefix=[prefix],
        **{name: [value] for name, value in inputs.items()},
    )


def foreign_page(folders: Folders) -> None:
    folders.write("output/index.html", "mine")
    save(page=True)


def blocked(folders: Folders) -> None:
    folders.write("output/full", "a file")
    record = Engine(folders.model).describe(SizedRequest(prompt="a", seed=1, width=64, height=64))
    save(prefix="full/batch", record=record)


def select(pick: str, seeds: tuple[int, ...] = (3, 4, 5), **inputs: Any) -> None:
    rows = [make_record(seed=seed) for seed in seeds]
    batch = torch.zeros(len(seeds), 8, 8, 3)
    run("SelectImages", images=[batch], rows=[rows], pick=[pick], **inputs)


def sheet(count: int, rows: int) -> None:
    run(
        "ContactSheet",
        images=[torch.zeros(count, 8, 8, 3)],
        rows=[[RECORD] * rows],
        layout=["in order"],
        cell_size=[64],
        columns=[0],
    )


class Clip:
    """Answers as a CLIP of ComfyUI's; of that width."""

    def __init__(self, width: int = 2048) -> None:
        self.width = width

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str, add_dict: dict[str, Any]) -> list[Any]:
        more = {"pooled_output": torch.zeros(1, 1280)} if self.width == 2048 else {}
        return [[torch.zeros(1, 77, self.width), more]]


def encode(*prompts: Prompt, clip: Clip | None = None, **inputs: Any) -> None:
    run("PromptsToConditioning", clip=clip, prompts=prompts, width=1024, height=1024, **inputs)


def wild(folders: Folders) -> None:
    found = run("PromptList", text="a {red|blue} circle", negative_prompt="", wildcards="random")
    encode(*found["result"][0], clip=Clip())


def noise(name: str, seeds: tuple[int, ...] = (1, 2), images: int = 1, **more: Any) -> None:
    def function() -> None:
        pass

    function.__name__ = f"sample_{name}"
    function.__module__ = "comfy.k_diffusion.sampling"
    sampler = types.SimpleNamespace(sampler_function=function, extra_options={}, inpaint_options={})
    latent = {"samples": torch.zeros(images, 4, 8, 8), **more}
    run("SeedsToNoise", seeds=seeds, sampler=sampler, latent=latent)


SETTINGS = {"steps": 8}
IA3 = {"lora_unet_a.on_input": torch.zeros(1)}
SD1_LORA = {f"lora_unet_mid_block_x.lora_{way}.weight": torch.zeros(4, 4) for way in ("up", "down")}
SD1 = header({"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)})

#: What people do that a page explains the message of.
MISTAKES: dict[str, list[Callable[[Folders], object]]] = {
    "LoadSDXL": [
        lambda at: load_model(at, "my_sdxl.safetensors"),
        lambda at: load_model(at, "dream.safetensors", SD1),
        lambda at: load_model(at, "old.ckpt", b"PK\x03\x04"),
        lambda at: load_model(at, "my_sdxl.safetensors", header({"a": (50,)}, missing=40)),
        load_part,
        without_compiler,
        lambda at: load_model(at, "demo", compile=True, offload=True),
        lambda at: load_model(at, "demo", vae="fixed.safetensors"),
    ],
    "ApplyLora": [
        lambda at: lora(at, None),
        lambda at: lora(at, SD1_LORA),
        lambda at: lora(at, IA3),
        lambda at: load_model(at, "ink.safetensors", header({"lora_unet_x.alpha": ()})),
    ],
    "PromptList": [
        lambda at: prompt_list("# nothing yet\n\n"),
        lambda at: prompt_list(file="promts.csv"),
        lambda at: prompt_file(at, "", "prompts.docx"),
        silent_picture,
        lambda at: prompt_list("a cat, <lora:ink:0.8>"),
        lambda at: prompt_file(at, "name,prompt\nred,red {prompt}\n", "styles.csv"),
        lambda at: prompt_file(at, "prompt,seed\na red circle,1.23457E+14\n"),
        lambda at: prompt_file(at, "prompt,seed\na red circle, on blue,5\n"),
        lambda at: prompt_file(at, "prompt,seed\na red circle,five\n"),
        lambda at: prompt_file(at, "subject,seed\na red circle,5\n"),
        lambda at: prompt_file(at, "prompt,style\na cat,ink\n", template="{prompt}, {stile}"),
        lambda at: prompt_list("a __animal__", wildcards="random"),
        lambda at: prompt_list("a {red|blue circle", wildcards="random"),
        lambda at: prompt_list("{a|b|c} {a|b|c}", wildcards="combinatorial", variants_limit=8),
        lambda at: generate(at, "a cat, embedding:badhands"),
    ],
    "PromptSettings": [
        lambda at: generate(at, (Prompt("a", settings=Settings({"clip_skip": 12})),)),
        lambda at: generate(at, (Prompt("a", settings=Settings({"guidance_rescale": 70.0})),)),
        lambda at: prompt_file(at, "prompt,crop_left\na cat,middle\n"),
    ],
    "SeedList": [
        lambda at: run("SeedList", seeds=[""]),
        lambda at: run("SeedList", seeds=["1 5 9"]),
        lambda at: run("SeedList", seeds=["-5"]),
        lambda at: run("SeedList", seeds=["random(8)"]),
        lambda at: run("SeedList", seeds=["1..9000000"]),
    ],
    "LoadImageBatch": [
        lambda at: images(at, "hollidays"),
        lambda at: images(at, "cats/*.png"),
        no_pictures,
        no_picture,
        lambda at: pictures(at, width=1024),
        lambda at: pictures(at, start=10),
    ],
    "BatchGenerate": [
        lambda at: generate(at, "a\nb\nc", seeds=(1, 2)),
        lambda at: generate(at, seeds=None),
        lambda at: generate(at, width=1000, height=1001),
        lambda at: generate(at, images=torch.zeros(1, 768, 512, 3), width=1024, height=1024),
        lambda at: generate(at, images=torch.zeros(1, 765, 512, 3)),
        lambda at: generate(at, images=torch.zeros(1, 64, 64, 3), steps=4, strength=0.2),
        lambda at: generate(at, steps=1500, scheduler="simple"),
        lambda at: generate(at, images=torch.zeros(1, 64, 64, 3), latents=latents()),
        lambda at: generate(at, latents=latents(channels=16)),
        lambda at: generate(at, latents=latents(noise_mask=torch.ones(1, 64, 64))),
        lambda at: generate(at, rows_per_call=3),
        lambda at: generate(at, vae_tile=64),
        no_memory,
        no_ray,
    ],
    "SaveImageBatch": [
        lambda at: save(count=8, rows=2),
        lambda at: save(prefix="../holiday"),
        lambda at: save(file_name="{name}_{seed}"),
        lambda at: save(file_name="{number}/{seed}"),
        foreign_page,
        blocked,
    ],
    "SelectImages": [
        lambda at: select(""),
        lambda at: select("seed 9"),
        lambda at: select("3"),
        lambda at: select("castle"),
        lambda at: select("all", masks=[torch.zeros(2, 8, 8)]),
    ],
    "RefinePrompts": [
        lambda at: run("RefinePrompts", rows=[RECORD] * 3, way="append", text="at night\nat noon"),
        lambda at: run("RefinePrompts", rows=[RECORD], way="template", text="an oil painting"),
    ],
    "ContactSheet": [lambda at: sheet(8, 2), lambda at: sheet(0, 0)],
    "PromptsToConditioning": [
        lambda at: encode(Prompt("a")),
        lambda at: encode(Prompt("a"), clip=Clip(768)),
        lambda at: encode(Prompt("a cat", settings=Settings(SETTINGS)), clip=Clip()),
        lambda at: encode(
            Prompt("a", settings=Settings({"seed": 1})), Prompt("b"), Prompt("c"), clip=Clip()
        ),
        wild,
        lambda at: encode(Prompt("a"), Prompt("b"), Prompt("c"), clip=Clip(), seeds=(1, 2)),
    ],
    "SeedsToNoise": [
        lambda at: noise("dpm_adaptive"),
        lambda at: noise("new_sampler"),
        lambda at: noise("euler", seeds=(1, 2, 3), images=2),
        lambda at: noise("euler", noise_mask=torch.zeros(3, 8, 8)),
        lambda at: run("SeedsToNoise", seeds=(), sampler=None, latent={}),
    ],
    "ModelFromComfyUI": [lambda at: run("ModelFromComfyUI", model=None, clip=None, vae=None)],
}


def message(mistake: Callable[[Folders], object], folders: Folders) -> str:
    with pytest.raises(BatchSDXLError) as caught:
        mistake(folders)
    said = f"Expected {caught.value.expected}, got {caught.value.got}."
    # Pages have no room for whole paths.
    for folder in (folders.root.parent, host.EXAMPLES.parent):
        said = re.sub(rf"{re.escape(str(folder))}/(?:[\w.-]+/)*", "…/", said)
    return said


@pytest.mark.parametrize("name", MISTAKES)
def test_messages_come_as_a_page_quotes_them(name: str, tmp_path: Path, tiny: Model) -> None:
    page = (DOCS / f"BatchSDXL_{name}.md").read_text("utf-8")
    errors = page.split("\n## Errors explained\n")[1].split("\n## ")[0]
    quoted = [match[2] for match in QUOTE.finditer(errors)]
    assert len(quoted) == errors.count("\n- ")
    said = []
    for number, mistake in enumerate(MISTAKES[name]):
        folders = Folders(tmp_path / str(number) / "ComfyUI", tiny)
        with host.use(folders):
            said.append(message(mistake, folders))
    assert said == quoted


def test_every_node_has_its_mistakes() -> None:
    assert {f"BatchSDXL_{name}" for name in MISTAKES} == NODE_CLASS_MAPPINGS.keys()
