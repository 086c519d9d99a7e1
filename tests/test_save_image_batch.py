"""Save Image Batch: names, formats, the page, and what is left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core.errors import BatchSDXLError, NotOurs, OutputError
from batch_sdxl.core.images.source import read_image
from batch_sdxl.core.request.record import Record
from batch_sdxl.core.saving.image_file import read_record
from batch_sdxl.core.saving.writer import FORMATS
from batch_sdxl.host import host
from batch_sdxl.tests.records import make_record
from PIL import Image

SaveImageBatch = NODE_CLASS_MAPPINGS["BatchSDXL_SaveImageBatch"]


class FolderHost(host.Host):
    """Writes below one folder, and keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.says = True

    def output_folder(self) -> Path:
        return self.folder

    def saves_metadata(self) -> bool:
        return self.says

    def tell(self, text: str, node_id: str) -> None:
        assert node_id == "9"
        self.told.append(text)


@pytest.fixture
def folder_host(tmp_path: Path) -> Iterator[FolderHost]:
    here = FolderHost(tmp_path)
    with host.use(here):
        yield here


def record(seed: int, prompt: str = "a red circle") -> Record:
    return make_record(seed=seed, prompt=prompt)


def pictures(number: int) -> torch.Tensor:
    return torch.rand(number, 8, 16, 3, generator=torch.Generator().manual_seed(0))


def save(*seeds: int, **options: Any) -> dict[str, Any]:
    images = options.pop("images", pictures(len(seeds)))
    rows = options.pop("rows", [record(seed) for seed in seeds])
    lists = {"filename_prefix": "batch", "unique_id": "9"} | options
    result: dict[str, Any] = SaveImageBatch().run(
        images=[images], rows=[rows], **{name: [value] for name, value in lists.items()}
    )
    return result


def names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_saved_workflows_keep_their_inputs_and_order() -> None:
    inputs = SaveImageBatch.INPUT_TYPES()
    assert list(inputs["required"]) == ["images"]
    options = {name: one for name, (_, one) in inputs["optional"].items() if "default" in one}
    usual = {name: one["default"] for name, one in options.items()}
    others = {"file_name": "", "format": "png", "quality": 90, "page": False}
    assert list(usual.items()) == list(({"filename_prefix": "batch"} | others).items())
    assert inputs["optional"]["format"][0] == list(FORMATS)


def test_usual_names_go_on_from_the_files_that_are_there(folder_host: FolderHost) -> None:
    save(7, 8)
    save(7, filename_prefix="batch")
    save(7, format="jpeg")
    assert names(folder_host.folder) == [
        "batch_00001_seed7.png",
        "batch_00002_seed8.png",
        "batch_00003_seed7.png",
        "batch_00004_seed7.jpg",
    ]


def test_names_of_ones_own_never_replace_a_file(folder_host: FolderHost) -> None:
    first = save(7, 7, file_name="{prompt}/{seed}")
    before = {path: path.read_bytes() for path in folder_host.folder.rglob("*.png")}
    save(7, file_name="{prompt}/{seed}")
    assert names(folder_host.folder) == [
        "a-red-circle/7.png",
        "a-red-circle/7_2.png",
        "a-red-circle/7_3.png",
    ]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert first["ui"]["images"] == [
        {"filename": name, "subfolder": "a-red-circle", "type": "output"}
        for name in ("7.png", "7_2.png")
    ]
    folder = folder_host.folder / "a-red-circle"
    assert first["result"][0] == [str(folder / "7.png"), str(folder / "7_2.png")]


def test_numbers_are_counted_for_each_start_of_a_name(folder_host: FolderHost) -> None:
    save(1, 2, 1, file_name="s{seed}_{number:02}")
    save(2, file_name="s{seed}_{number:02}")
    assert names(folder_host.folder) == ["s1_01.png", "s1_02.png", "s2_01.png", "s2_02.png"]


def test_the_index_counts_the_images_of_the_run(folder_host: FolderHost) -> None:
    save(5, 6, file_name="{index:03}")
    assert names(folder_host.folder) == ["001.png", "002.png"]


@pytest.mark.parametrize("name", ["../{seed}", "/tmp/{seed}", "a\\..\\..\\{seed}", "C:{seed}"])
def test_no_name_leads_out_of_the_output_folder(folder_host: FolderHost, name: str) -> None:
    with pytest.raises(OutputError):
        save(7, file_name=name)
    with pytest.raises(OutputError):
        save(7, filename_prefix="../x", file_name="{prefix}/{seed}")
    assert names(folder_host.folder) == []


def test_links_do_not_lead_out_either(folder_host: FolderHost, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name} outside"
    outside.mkdir()
    (folder_host.folder / "link").symlink_to(outside)
    with pytest.raises(OutputError, match="stays below"):
        save(7, file_name="link/{seed}")
    assert names(outside) == []


@pytest.mark.parametrize(("name", "form"), [("{sed}", "png"), ("{seed}", "bmp")])
def test_bad_settings_are_refused_before_anything_runs(name: str, form: str) -> None:
    answer = SaveImageBatch.VALIDATE_INPUTS(file_name=[name], format=[form])
    assert isinstance(answer, BatchSDXLError)
    assert SaveImageBatch.VALIDATE_INPUTS(file_name=[""], format=["avif"]) is True
    assert SaveImageBatch.VALIDATE_INPUTS(file_name=[None], format=[None]) is True


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_what_made_it(folder_host: FolderHost, form: str) -> None:
    (file,) = save(7, format=form, prompt={"1": {}})["result"][0]
    assert Path(file).suffix == FORMATS[form].suffix
    assert read_record(Path(file)) == record(7)
    folder_host.says = False
    (silent,) = save(7, format=form, prompt={"1": {}})["result"][0]
    content = Path(silent).read_bytes()
    assert b"circle" not in content
    assert b"c\0i\0r\0c\0l\0e" not in content
    assert b"class_type" not in content
    with Image.open(silent) as image:
        assert not image.getexif()
        assert not any(isinstance(value, str) for value in image.info.values())


def test_16_bits_keep_what_8_bits_round_away(folder_host: FolderHost) -> None:
    images = pictures(1)
    (deep,) = save(7, images=images, format="png 16 bit")["result"][0]
    (flat,) = save(7, images=images)["result"][0]
    wanted = images[0].numpy()
    assert np.abs(read_image(Path(deep)).pixels - wanted).max() < 1e-5
    assert np.abs(read_image(Path(flat)).pixels - wanted).max() > 1e-3
    assert np.array_equal(np.asarray(Image.open(flat)), (images[0] * 255).round().numpy())


@pytest.mark.parametrize("form", ["png", "png 16 bit"])
def test_values_beyond_the_range_are_black_and_white(folder_host: FolderHost, form: str) -> None:
    images = torch.tensor([-0.5, 0.0, 1.0, 1.5]).reshape(1, 1, 4, 1).expand(1, 1, 4, 3)
    (file,) = save(7, images=images, format=form)["result"][0]
    assert read_image(Path(file)).pixels[0, :, 0].tolist() == [0, 0, 1, 1]


def test_what_a_jpeg_has_no_room_for_is_told(folder_host: FolderHost) -> None:
    options: dict[str, Any] = {"extra_pnginfo": {"workflow": {"nodes": ["x" * 70_000]}}}
    (file, _) = save(7, 8, format="jpeg", **options)["result"][0]
    assert folder_host.told == [
        "2 of 2 files are without workflow: a JPEG has room for 64 KB of text. "
        "Save as png, webp or avif to keep it."
    ]
    assert read_record(Path(file)) == record(7)
    save(7, format="webp", **options)
    assert len(folder_host.told) == 1


def test_a_page_is_written_beside_the_images(folder_host: FolderHost) -> None:
    save(7, 8, file_name="{seed}/x", page=True)
    save(7, file_name="{seed}/x", page=True, format="webp")
    assert names(folder_host.folder) == [
        *("7/index.html", "7/x.png", "7/x.webp", "8/index.html", "8/x.png")
    ]
    page = (folder_host.folder / "7" / "index.html").read_text("utf-8")
    assert "./x.png" in page
    assert "./x.webp" in page


def test_a_page_of_someone_else_is_told_of_before_anything_is_written(
    folder_host: FolderHost,
) -> None:
    (folder_host.folder / "index.html").write_text("<h1>Mine")
    with pytest.raises(OutputError, match="turn page off"):
        save(7, page=True)
    assert names(folder_host.folder) == ["index.html"]


def test_no_page_tells_prompts_that_no_file_may_tell(folder_host: FolderHost) -> None:
    folder_host.says = False
    save(7, page=True)
    assert names(folder_host.folder) == ["batch_00001_seed7.png"]
    assert folder_host.told == ["No index.html: ComfyUI runs with --disable-metadata."]


def test_images_that_were_saved_survive_one_that_cannot_be(folder_host: FolderHost) -> None:
    images = [torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8, 4)]
    with pytest.raises(OutputError, match="4 channels"):
        SaveImageBatch().run(
            images=images, rows=[[record(1), record(2)]], filename_prefix=["x"], format=["jpeg"]
        )
    assert names(folder_host.folder) == ["x_00001_seed1.jpg"]


def test_rows_go_to_the_browser(folder_host: FolderHost) -> None:
    ui = save(2**64 - 1, file_name="{seed}", format="avif")["ui"]
    assert [json.loads(row)["request"]["seed"] for row in ui["batch_sdxl"]] == [2**64 - 1]
    assert ui["images"][0]["filename"] == f"{2**64 - 1}.avif"


def test_images_of_other_programs_are_saved_with_what_is_told_of_them(
    folder_host: FolderHost,
) -> None:
    given = {"images": [pictures(2)], "filename_prefix": ["x"]}
    told = {"prompts": ["a cat", "a dog"], "seeds": [(7, 8)], "names": ["a.png", "b.png"]}
    ui = SaveImageBatch().run(**given, **told)["ui"]
    assert names(folder_host.folder) == ["x_00001_seed7.png", "x_00002_seed8.png"]
    assert ui["batch_sdxl"] == []
    with Image.open(folder_host.folder / "x_00002_seed8.png") as image:
        assert image.text == {"parameters": "a dog\nSeed: 8, Size: 16x8"}  # type: ignore[attr-defined]
    with pytest.raises(NotOurs):
        read_record(folder_host.folder / "x_00002_seed8.png")
    SaveImageBatch().run(**given, **told, file_name=["{source}_{prompt}_{width}"])
    assert names(folder_host.folder)[:2] == ["a_a-cat_16.png", "b_a-dog_16.png"]


def test_images_without_anything_told_are_numbered(folder_host: FolderHost) -> None:
    SaveImageBatch().run(images=[pictures(2)], filename_prefix=["x"])
    assert names(folder_host.folder) == ["x_00001.png", "x_00002.png"]
    for name in ("{seed}", "{model}"):
        with pytest.raises(OutputError, match="what is known of images without rows"):
            SaveImageBatch().run(images=[pictures(2)], file_name=[name])
