from pathlib import Path

import numpy as np
import pytest
import torch
from batch_sdxl.core.errors import InvalidImage, OutputError
from batch_sdxl.core.images import list_images, read_image, save_png, to_uint8
from PIL import Image


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "1.JPG", "a.webp", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["1.JPG", "2.png", "10.png", "a.webp"]


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"\.png"):
        list_images(tmp_path)
    with pytest.raises(InvalidImage, match="missing"):
        list_images(tmp_path / "missing")


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(InvalidImage, match=r"bad\.png"):
        read_image(path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InvalidImage, match=r"cut\.png"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="does not exist"):
        read_image(tmp_path / "none.png")


def test_transparency_becomes_the_mask(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 255, 0, 0))
    image.save(tmp_path / "a.png")
    source = read_image(tmp_path / "a.png")
    assert (source.width, source.height, source.name) == (4, 2, "a.png")
    assert source.mask is not None
    assert source.mask[0, 1] == 1
    assert source.mask.sum() == 1
    assert source.pixels[0, 0].tolist() == [1, 0, 0]


def test_a_photo_stands_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # turn right
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").width == 2


@pytest.mark.parametrize(
    ("fit", "left", "middle"), [("crop", 200, 200), ("pad", 0, 200), ("stretch", 200, 200)]
)
def test_an_image_is_brought_to_size(tmp_path: Path, fit: str, left: int, middle: int) -> None:
    Image.new("RGB", (8, 16), (200, 200, 200)).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", (16, 16), fit).pixels
    assert pixels.shape == (16, 16, 3)
    assert round(pixels[8, 0, 0] * 255) == left
    assert round(pixels[8, 8, 0] * 255) == middle


def test_rounding_is_diffusers() -> None:
    values = torch.tensor([0.0, 0.5, 1.5, 2.5, 254.5, 255.0]) / 255
    pixels = to_uint8(values.reshape(1, 2, 3))
    assert pixels.dtype == np.uint8
    assert pixels.ravel().tolist() == [0, 0, 2, 2, 254, 255]


def test_no_file_is_replaced(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    (tmp_path / "a_00007_seed1.png").write_bytes(b"precious")
    first = save_png(tmp_path, "a_*_seed1", pixels)
    second = save_png(tmp_path, "a_*_seed2", pixels)
    assert [first.name, second.name] == ["a_00008_seed1.png", "a_00009_seed2.png"]
    assert (tmp_path / "a_00007_seed1.png").read_bytes() == b"precious"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        save_png(tmp_path / "file", "*", np.zeros((8, 8, 3), np.uint8))
