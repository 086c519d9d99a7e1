"""The nodes, called as ComfyUI and the headless executor call them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from batch_sdxl.core import Engine, ImageRequest, Model
from batch_sdxl.core.engine import diffusers_backend
from batch_sdxl.core.engine.preview import pace
from batch_sdxl.core.errors import BatchSDXLError, FailedImage, InvalidRequest
from batch_sdxl.core.models import vae
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.store.store import ImageStore
from batch_sdxl.host import host, image_batches
from batch_sdxl.host.image_batches import ImageBatches
from batch_sdxl.tests.records import make_record
from PIL import Image


class Cancelled(BaseException):
    """What a host stops a run with."""


class FolderHost(host.Host):
    """Everything below one folder; counts what progress is told, and stops at so many images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[int, int]] = []
        self.texts: list[str] = []
        self.sheets: list[Image.Image] = []
        self.shows_preview = False
        self.stop_at: int | None = None
        self.failed: list[int] = []

    def tell(self, text: str, node_id: str) -> None:
        self.texts.append(text)

    def input_folders(self) -> list[Path]:
        return [self.folder / "input"]

    def output_folder(self) -> Path:
        return self.folder / "output"

    def store(self) -> ImageStore:
        return ImageStore(self.folder / "store")

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> host.ProgressDisplay:
        owner = self
        owner.told.append((total_steps, total_images))

        class Display(host.ProgressDisplay):
            shows_preview = owner.shows_preview

            def update(self, steps: int, images: int, sheet: Image.Image | None = None) -> None:
                owner.told.append((steps, images))
                owner.sheets += [sheet] if sheet else []
                if images == owner.stop_at:
                    raise Cancelled

            def end(self, text: str, sheet: Image.Image | None = None) -> None:
                owner.texts.append(text)
                owner.sheets += [sheet] if sheet else []

        return Display()


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[FolderHost]:
    (tmp_path / "input" / "shapes").mkdir(parents=True)
    for number, shade in ((2, 100), (10, 200), (1, 50)):
        image = Image.new("RGB", (64, 64), (shade, shade, shade))
        image.save(tmp_path / "input" / "shapes" / f"{number}.png")
    with host.use(FolderHost(tmp_path)) as _:
        current = host.current()
        assert isinstance(current, FolderHost)
        yield current


def call(name: str, **inputs: Any) -> Any:
    node = NODE_CLASS_MAPPINGS[f"BatchSDXL_{name}"]()
    return getattr(node, node.FUNCTION)(**inputs)


def generate(model: Model, **changes: Any) -> tuple[list[torch.Tensor], list[Record]]:
    inputs: dict[str, Any] = {
        "model": model,
        "prompts": (Prompt("red"), Prompt("blue", "dim")),
        "seeds": (1, 2),
        "width": 0,
        "height": 0,
        "steps": 2,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "strength": 0.5,
        "combine": "zip",
    }
    lists = {name: [value] for name, value in (inputs | changes).items()}
    images, rows, _ = call("BatchGenerate", **lists)
    return images, rows


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_every_node_explains_itself(name: str) -> None:
    node = NODE_CLASS_MAPPINGS[name]
    assert node.DESCRIPTION
    assert node.SEARCH_ALIASES
    assert node.CATEGORY.startswith("Batch SDXL")
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
    assert hasattr(node, node.FUNCTION)
    inputs = node.INPUT_TYPES()
    for kind in ("required", "optional"):
        for options in inputs.get(kind, {}).values():
            assert options[1]["tooltip"]


def test_ids_and_display_names_agree() -> None:
    assert set(NODE_CLASS_MAPPINGS) == set(NODE_DISPLAY_NAME_MAPPINGS)
    assert all(name.startswith("BatchSDXL_") for name in NODE_CLASS_MAPPINGS)


def test_lists_are_read(folders: FolderHost) -> None:
    prompts = call("PromptList", text="a\nb", negative_prompt="c")["result"]
    assert prompts[:2] == ((Prompt("a", "c"), Prompt("b", "c")), 2)
    assert call("SeedList", seeds=["5..7"])["result"] == ((5, 6, 7), 3, [5, 6, 7])


@pytest.mark.parametrize("folder", ["..", "../input/shapes/../..", "missing", "/", "/etc"])
def test_folders_outside_are_refused(folders: FolderHost, folder: str) -> None:
    with pytest.raises(BatchSDXLError):
        call("LoadImageBatch", folder=folder, width=0, height=0, fit="crop", limit=0)
    node = NODE_CLASS_MAPPINGS["BatchSDXL_LoadImageBatch"]
    assert isinstance(node.VALIDATE_INPUTS(folder=folder, width=0, height=0), BatchSDXLError)


def test_the_cache_key_of_a_folder_is_its_content(folders: FolderHost) -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_LoadImageBatch"]
    before = node.IS_CHANGED(folder="shapes")
    assert node.IS_CHANGED(folder="shapes") == before
    Image.new("RGB", (64, 64), "red").save(folders.folder / "input" / "shapes" / "1.png")
    assert node.IS_CHANGED(folder="shapes") != before


def test_half_a_size_is_refused(folders: FolderHost) -> None:
    with pytest.raises(BatchSDXLError, match="both set"):
        call("LoadImageBatch", folder="shapes", width=64, height=0, fit="crop", limit=0)


def test_images_and_rows_come_in_the_order_of_the_lists(tiny: Model, folders: FolderHost) -> None:
    images, rows = generate(tiny, combine="product", seeds=(5, 6, 7))
    assert [(row.request.prompt, row.request.seed) for row in rows] == [
        (prompt, seed) for prompt in ("red", "blue") for seed in (5, 6, 7)
    ]
    assert rows[3].request.negative_prompt == "dim"
    assert [batch.shape for batch in images] == [(6, 64, 64, 3)]
    request = ImageRequest(
        prompt="blue",
        negative_prompt="dim",
        seed=6,
        num_inference_steps=2,
        scheduler="euler:normal",
    )
    (alone,) = Engine(tiny).generate([request])
    assert np.array_equal((images[0][4] * 255).round().numpy(), alone.pixels)
    assert folders.told[0] == (12, 6)
    assert folders.told[-1] == (12, 6)


@pytest.mark.parametrize("unrounded", [False, True])
def test_a_stopped_run_leaves_its_images_to_the_next(
    tiny: Model, folders: FolderHost, unrounded: bool
) -> None:
    changes: dict[str, Any] = {
        "seeds": (4, 5, 6),
        "combine": "product",
        "unrounded": unrounded,
        "rows_per_call": 4,
        "width": 72,
    }
    with host.use(host.Host()):  # which keeps nothing
        expected, rows = generate(tiny, **changes)
    folders.stop_at = 3
    with pytest.raises(Cancelled):
        generate(tiny, **changes)
    title = "6 images: 2 prompts x 3 seeds (product)"
    assert folders.texts == [title, "Stopped; 3 of 6 images are kept for the next run"]

    folders.stop_at = None
    folders.told.clear()
    folders.texts.clear()
    images, same_rows = generate(tiny, **changes)
    assert folders.told[0] == folders.told[-1] == (6, 6)
    assert folders.texts == [f"{title}, 3 of 6 images from earlier runs"] * 2
    assert torch.equal(images[0], expected[0])
    assert same_rows == rows


def test_a_seed_more_costs_one_image(tiny: Model, folders: FolderHost) -> None:
    before, _ = generate(tiny, prompts=(Prompt("x"),), seeds=(601, 602, 603))
    folders.told.clear()
    after, _ = generate(tiny, prompts=(Prompt("x"),), seeds=(601, 602, 603, 604))
    assert folders.told[0] == (2, 4)  # the steps of one image
    assert torch.equal(after[0][:3], before[0])
    folders.told.clear()
    again, _ = generate(tiny, prompts=(Prompt("x"),), seeds=(604, 602))
    assert not folders.told
    assert torch.equal(again[0], after[0][[3, 1]])


def test_an_image_that_was_altered_is_made_again(tiny: Model, folders: FolderHost) -> None:
    before, _ = generate(tiny)
    (folders.folder / "store" / "v2").rename(folders.folder / "aside")
    for number, file in enumerate(sorted((folders.folder / "aside").rglob("*.safetensors"))):
        content = bytearray(file.read_bytes())
        content[-1] ^= number
        place = folders.folder / "store" / "v2" / file.relative_to(folders.folder / "aside")
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
    after, _ = generate(tiny)
    assert folders.told[-1] == (2, 2)  # the steps of one image
    assert torch.equal(after[0], before[0])


def test_a_store_that_cannot_be_written_costs_speed_only(tiny: Model, folders: FolderHost) -> None:
    (folders.folder / "store").write_text("a file in its place")
    images, _ = generate(tiny)
    assert len(images[0]) == 2
    said = [text for text in folders.texts if "not kept for later runs" in text]
    assert len(said) == 1


def test_a_row_that_fails_stops_the_run_or_is_left_out(
    tiny: Model, folders: FolderHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.use(host.Host()):
        (expected,), rows = generate(tiny, combine="product")

    def spoiled(model: Model, latents: torch.Tensor, tile: int | None) -> torch.Tensor:
        number = len(folders.failed)
        folders.failed.append(number)
        return vae.decode(model, latents * float("nan") if number == 1 else latents, tile)

    monkeypatch.setattr(diffusers_backend, "decode", spoiled)
    folders.shows_preview = True
    (images,), left = generate(tiny, combine="product", on_error="skip")
    (missing,) = [n for n, row in enumerate(rows) if row not in left]
    assert torch.equal(images, torch.cat([expected[:missing], expected[missing + 1 :]]))
    assert f"1 of 4 images failed.\nimage {missing + 1} of 4 (seed " in folders.texts[-2]
    sheet = np.asarray(folders.sheets[-1])  # the end is drawn in any case
    for number in {0, 1, 2, 3} - {missing}:
        pixels = Image.fromarray((expected[number] * 255).round().byte().numpy())
        tile = np.asarray(pixels.resize((62, 62), Image.Resampling.BICUBIC))
        top, left_edge = 64 * (number // 2) + 1, 64 * (number % 2) + 1
        assert np.array_equal(sheet[top : top + 62, left_edge : left_edge + 62], tile)
    folders.failed.clear()
    with pytest.raises(FailedImage, match=r"of image \d of 4 \(seed \d\).*on_error set to skip"):
        generate(tiny, combine="product", steps=3)
    folders.failed[:] = [1] * 1
    with pytest.raises(FailedImage):  # nothing is left
        generate(tiny, seeds=(77,), prompts=(Prompt("y"),), on_error="skip")


def test_what_was_kept_is_not_taken_for_another_image(tiny: Model, folders: FolderHost) -> None:
    with host.use(host.Host()):
        expected = generate(tiny, seeds=(8, 9), cfg=5.0)[0]
    folders.stop_at = 1
    with pytest.raises(Cancelled):
        generate(tiny, seeds=(8, 9), rows_per_call=2)
    folders.stop_at = None
    assert torch.equal(generate(tiny, seeds=(8, 9), cfg=5.0)[0][0], expected[0])
    assert folders.texts[-1] == "2 images: 2 prompts, 2 seeds (zip)"


@pytest.mark.parametrize("limit", [0, 2**30])  # in a file, in memory
def test_images_of_several_sizes_come_out_in_batches_of_neighbours(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    sizes = [(8, 8), (8, 8), (8, 16), (8, 8)]
    images = [np.full((*size, 3), 51 * n, np.uint8) for n, size in enumerate(sizes)]
    monkeypatch.setattr(image_batches, "IN_A_FILE", limit)
    made = ImageBatches([image.shape for image in images])
    for index in (3, 0, 2, 1):
        made.put(index, images[index])
    batches = made.tensors()
    assert [batch.shape for batch in batches] == [(2, 8, 8, 3), (1, 8, 16, 3), (1, 8, 8, 3)]
    flat = [image for batch in batches for image in batch]
    for image, tensor in zip(images, flat, strict=True):
        assert torch.equal(tensor, torch.from_numpy(image).float() / 255)
    left = made.tensors(without={0, 2})
    assert [batch.shape for batch in left] == [(2, 8, 8, 3)]
    assert torch.equal(left[0], torch.from_numpy(np.stack([images[1], images[3]])).float() / 255)


def test_where_the_host_shows_previews_nothing_else_changes(
    tiny: Model, folders: FolderHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.use(host.Host()):
        unseen, _ = generate(tiny, seeds=(5, 6), prompts=(Prompt("x"),), combine="product")
    assert not folders.sheets
    monkeypatch.setattr(pace, "FIRST", 0.0)
    monkeypatch.setattr(pace, "PERIOD", 0.0)
    monkeypatch.setattr(pace, "SHARE", 1e9)
    folders.shows_preview = True
    folders.stop_at = 1
    changes: dict[str, Any] = {"seeds": (5, 6), "prompts": (Prompt("x"),), "combine": "product"}
    with pytest.raises(Cancelled):
        generate(tiny, **changes)
    folders.sheets.clear()
    folders.stop_at = None
    seen, _ = generate(tiny, **changes)
    assert torch.equal(seen[0], unseen[0])
    assert {sheet.size for sheet in folders.sheets} == {(64, 128)}
    first, last = np.asarray(folders.sheets[0]), np.asarray(folders.sheets[-1])
    # The first was kept from the run before; the second is rough, and then as it came out.
    pixels = (unseen[0] * 255).round().byte().numpy()
    for sheet, number in ((first, 0), (last, 0), (last, 1)):
        small = Image.fromarray(pixels[number]).resize((62, 62), Image.Resampling.BICUBIC)
        assert np.array_equal(sheet[64 * number + 1 :][:62, 1:63], np.asarray(small))
    assert not np.array_equal(first, last)


def test_input_images_make_it_image_to_image(tiny: Model, folders: FolderHost) -> None:
    loaded, _, names, _ = call(
        "LoadImageBatch", folder="shapes", width=0, height=0, fit="crop", limit=2
    )["result"]
    node = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]()
    one = {
        "model": tiny,
        "prompts": (Prompt("red"),),
        "seeds": (4,),
        "width": 0,
        "height": 0,
        "steps": 4,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "strength": 0.5,
        "combine": "zip",
    }
    lists = {name: [value] for name, value in one.items()}
    images, rows, _ = node.run(**lists, images=loaded, names=names)
    assert len(images[0]) == 2
    assert [row.request.image.name for row in rows] == ["1.png", "2.png"]
    assert rows[0].request.strength == 0.5
    assert folders.told[0] == (4, 2)
    with pytest.raises(BatchSDXLError, match="1 name and 2 images"):
        node.run(**lists, images=loaded, names=["1.png"])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seeds": (1, 2, 3)}, "2 prompts and 3 seeds"),
        ({"prompts": ()}, "at least one of prompts"),
        ({"seeds": ()}, "at least one of seeds"),
        ({"width": 100}, "multiple of 8"),
        ({"steps": 0}, "a number of steps of 1 to"),
        ({"scheduler": "simple", "steps": 1001}, "at most 1000 steps of euler with simple"),
    ],
)
def test_what_cannot_be_made_is_refused(tiny: Model, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InvalidRequest, match=part):
        generate(tiny, **changes)


def validate(name: str, **inputs: Any) -> bool | BatchSDXLError:
    answer: bool | BatchSDXLError = NODE_CLASS_MAPPINGS[f"BatchSDXL_{name}"].VALIDATE_INPUTS(
        **inputs
    )
    return answer


def test_bad_values_are_refused_before_anything_runs(folders: FolderHost) -> None:
    sizes: dict[str, Any] = {"width": [64], "height": [0]}
    good = {"sampler_name": ["euler"], "scheduler": ["karras"]}
    assert validate("BatchGenerate", **sizes, **good) is True
    assert validate("BatchGenerate", width=[None], height=[None], **good) is True
    assert "multiple of 8" in str(validate("BatchGenerate", width=[100], height=[0], **good))
    wrong = {"sampler_name": ["ddim"], "scheduler": ["nope"]}
    assert "name of a scheduler" in str(validate("BatchGenerate", **sizes, **wrong))
    assert "at least one prompt" in str(validate("PromptList", text=" "))
    assert "at least one seed" in str(validate("SeedList", seeds=[""]))
    assert validate("SeedList", seeds=[None]) is validate("PromptList", text=None) is True


def test_files_say_what_made_them(tiny: Model, folders: FolderHost) -> None:
    images, rows = generate(tiny)
    saved = call(
        "SaveImageBatch",
        images=images,
        rows=[rows],
        filename_prefix=["some/shapes"],
        prompt=[{"1": {"class_type": "X"}}],
        extra_pnginfo=[{"workflow": {"nodes": []}}],
    )
    (files,) = saved["result"]
    assert [Path(file).name for file in files] == [
        "shapes_00001_seed1.png",
        "shapes_00002_seed2.png",
    ]
    assert saved["ui"]["images"][0] == {
        "filename": "shapes_00001_seed1.png",
        "subfolder": "some",
        "type": "output",
    }
    assert [json.loads(row)["request"]["seed"] for row in saved["ui"]["batch_sdxl"]] == [1, 2]
    with Image.open(files[1]) as image:
        assert json.loads(image.info["batch_sdxl"])["request"]["prompt"] == "blue"
        assert json.loads(image.info["prompt"]) == {"1": {"class_type": "X"}}
        assert json.loads(image.info["workflow"]) == {"nodes": []}
        assert np.array_equal(np.asarray(image), (images[0][1] * 255).round().numpy())


@pytest.mark.parametrize("prefix", ["", "../out", "/etc/x", "folder/", "."])
def test_files_stay_in_the_output_folder(folders: FolderHost, prefix: str) -> None:
    with pytest.raises(BatchSDXLError):
        call(
            "SaveImageBatch",
            images=[torch.zeros(1, 8, 8, 3)],
            rows=[[make_record()]],
            filename_prefix=[prefix],
        )


def test_a_row_is_needed_for_each_image(folders: FolderHost) -> None:
    with pytest.raises(InvalidRequest, match="2 images and 1 row"):
        call(
            "SaveImageBatch",
            images=[torch.zeros(2, 8, 8, 3)],
            rows=[[make_record()]],
            filename_prefix=["x"],
        )


def test_a_missing_model_is_an_error(folders: FolderHost) -> None:
    with pytest.raises(BatchSDXLError, match="no-model"):
        call("LoadSDXL", model_name="no-model", dtype="auto")


def test_prompts_take_settings_that_their_rows_do_not_say(tiny: Model, folders: FolderHost) -> None:
    own = Prompt("blue", settings=Settings({"clip_skip": 0, "crop_left": 8}))
    prompts, count = call(
        "PromptSettings",
        prompts=(Prompt("red"), own),
        original_width=32,
        original_height=48,
        crop_left=16,
        crop_top=0,
        target_width=0,
        target_height=0,
        clip_skip=1,
        guidance_rescale=0.7,
        guidance_start=0.0,
        guidance_end=0.8,
    )
    assert count == 2
    _, rows = generate(tiny, prompts=prompts)
    told = [(*row.request.time_ids[:4], row.request.clip_skip) for row in rows]
    assert told == [(48, 32, 0, 16, 1), (48, 32, 0, 8, 0)]
    assert {row.request.guidance_rescale for row in rows} == {0.7}
    assert {row.request.guidance_end for row in rows} == {0.8}


def test_tiles_of_the_vae_are_part_of_the_numerics(tiny: Model, folders: FolderHost) -> None:
    (whole,), _ = generate(tiny, width=192, height=192)
    (tiled,), rows = generate(tiny, width=192, height=192, vae_tile=128)
    assert rows[0].numerics["vae_tile"] == 128
    assert not torch.equal(whole, tiled)


def test_shapes_of_calls_that_cannot_be_are_refused_before_anything_runs() -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]
    given = {"width": [0], "height": [0], "sampler_name": ["euler"], "scheduler": ["normal"]}
    assert node.VALIDATE_INPUTS(**given) is True
    assert "128 to 16384" in str(node.VALIDATE_INPUTS(**given, vae_tile=[64]))
    assert "a multiple of 2" in str(node.VALIDATE_INPUTS(**given, rows_per_call=[3]))
