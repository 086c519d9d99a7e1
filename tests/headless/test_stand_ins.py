import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_sdxl.core.errors import InvalidImage, OutputError
from batch_sdxl.headless.graph.stand_ins import LoadImage, PreviewImage, SaveImage
from batch_sdxl.host import host
from PIL import Image


class Folders(host.Host):
    def __init__(self, root: Path) -> None:
        self._root = root

    def input_folders(self) -> list[Path]:
        return [self._root / "in", self._root / "more"]

    def output_folder(self) -> Path:
        return self._root / "out"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "in").mkdir()
    (tmp_path / "more").mkdir()
    with host.use(Folders(tmp_path)):
        yield tmp_path


def test_image_without_alpha_has_a_small_empty_mask(root: Path) -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(pixels).save(root / "more" / "a.png")
    image, mask = LoadImage().load("a.png")
    assert image.shape == (1, 4, 6, 3)
    assert image.dtype == mask.dtype == torch.float32
    assert torch.equal(image[0], torch.from_numpy(pixels) / 255)
    assert torch.equal(mask, torch.zeros(1, 64, 64))


def test_mask_is_where_the_image_is_transparent(root: Path) -> None:
    alpha = np.array([[0, 51], [204, 255]], np.uint8)
    Image.merge("RGBA", [Image.fromarray(alpha)] * 4).save(root / "in" / "a.png")
    _, mask = LoadImage().load("a.png [input]")
    torch.testing.assert_close(mask, torch.tensor([[[1.0, 0.8], [0.2, 0.0]]]))


def test_file_is_never_looked_up_outside_the_input_folders(root: Path) -> None:
    Image.new("RGB", (2, 2)).save(root / "secret.png")
    (root / "in" / "link.png").symlink_to(root / "secret.png")
    names = [
        "../secret.png",
        str(root / "secret.png"),
        "link.png",
        "in/../../secret.png",
        "none.png",
        "",
        "a\0b",
        "x" * 5000,
        "none.png [output]",
    ]
    for name in names:
        assert isinstance(LoadImage.VALIDATE_INPUTS(name), InvalidImage), name
        with pytest.raises(InvalidImage, match="a file or folder below"):
            LoadImage().load(name)
    Image.new("RGB", (2, 2)).save(root / "in" / "b.png")
    assert LoadImage.VALIDATE_INPUTS("b.png") is True
    assert LoadImage.VALIDATE_INPUTS(None) is True


def test_files_are_numbered_from_where_the_folder_ends(root: Path) -> None:
    images = torch.rand(2, 4, 6, 3)
    first = SaveImage().save(images, "sub/pic")["ui"]["images"]
    assert first == [
        {"filename": "pic_00001_.png", "subfolder": "sub", "type": "output"},
        {"filename": "pic_00002_.png", "subfolder": "sub", "type": "output"},
    ]
    (root / "out" / "sub" / "pic_00041_.png").touch()
    (root / "out" / "sub" / "picture_00099_.png").touch()
    assert [one["filename"] for one in SaveImage().save(images, "sub/pic")["ui"]["images"]] == [
        "pic_00042_.png",
        "pic_00043_.png",
    ]
    batch = SaveImage().save(images, "%width%x%height%-%batch_num%")["ui"]["images"]
    assert [one["filename"] for one in batch] == ["6x4-0_00001_.png", "6x4-1_00001_.png"]
    assert batch[0]["subfolder"] == ""
    assert sorted(os.listdir(root / "out")) == ["6x4-0_00001_.png", "6x4-1_00001_.png", "sub"]


def test_pixels_are_cut_to_8_bits_as_comfyui_does(root: Path) -> None:
    image = torch.tensor([[[-0.5, 0.999, 1.5], [0.5, 1.0, 77.9 / 255]]])[None]
    result = SaveImage().save(image, "a")
    assert result["result"][0] is image
    written = np.asarray(Image.open(root / "out" / "a_00001_.png"))
    assert written.tolist() == [[[0, 254, 255], [127, 255, 77]]]


def test_file_says_the_graph_that_made_it(root: Path) -> None:
    prompt, drawing = {"1": {"class_type": "SaveImage"}}, {"nodes": [{"title": "é"}]}
    SaveImage().save(torch.zeros(1, 2, 2, 3), "a", prompt, {"workflow": drawing})
    with Image.open(root / "out" / "a_00001_.png") as image:
        assert {key: json.loads(text) for key, text in image.info.items()} == {
            "prompt": prompt,
            "workflow": drawing,
        }


@pytest.mark.parametrize("prefix", ["../a", "/etc/a", "", ".", "a/../../b"])
def test_nothing_is_written_outside_the_output_folder(root: Path, prefix: str) -> None:
    with pytest.raises(OutputError, match="stays below"):
        SaveImage().save(torch.zeros(1, 2, 2, 3), prefix)
    assert not (root / "out").exists()


@pytest.mark.parametrize("prefix", ["%date:yyyy-MM-dd%", "a_%Seed List.seeds%"])
def test_prefix_that_only_the_editor_can_fill_in_is_refused(root: Path, prefix: str) -> None:
    with pytest.raises(OutputError, match="needs no editor"):
        SaveImage().save(torch.zeros(1, 2, 2, 3), prefix)


def test_unwritable_folder_is_our_error(root: Path) -> None:
    (root / "out").write_text("a file")
    with pytest.raises(OutputError, match="to write an image"):
        SaveImage().save(torch.zeros(1, 2, 2, 3), "a")


def test_preview_writes_nothing(root: Path) -> None:
    image = torch.zeros(1, 2, 2, 3)
    assert PreviewImage().preview(image) == (image,)
    assert not getattr(PreviewImage, "OUTPUT_NODE", False)
    assert not (root / "out").exists()
