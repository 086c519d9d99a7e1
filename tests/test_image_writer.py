"""Image files: their pixels, and what they say, read back."""

import json
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core.errors import InvalidImage, OutputError
from batch_sdxl.core.images.source import read_image
from batch_sdxl.core.saving.image_file import file_texts, read_record
from batch_sdxl.core.saving.new_files import next_number, write_new
from batch_sdxl.core.saving.png16 import to_uint16
from batch_sdxl.core.saving.texts import texts_in
from batch_sdxl.core.saving.writer import FORMATS, encode, find_format, keeps_pixels, save_png
from batch_sdxl.tests.records import make_record
from PIL import Image

RECORD = make_record(
    prompt='ein "Würfel" 骰子 🎲\nzwei: drei',
    negative_prompt="</script>",
    seed=2**64 - 1,
    num_inference_steps=2,
    scheduler="euler:karras",
)
GRAPH = {"prompt": {"1": {"class_type": "X: ü"}}, "workflow": {"nodes": [{"id": 1}]}, "more": [1]}


def random_pixels(bits: int = 8, channels: int = 3) -> Any:
    draw = np.random.default_rng(0)
    kind = np.uint8 if bits == 8 else np.uint16
    return draw.integers(0, 2**bits, (16, 24, channels), kind)


def write(folder: Path, name: str, texts: dict[str, str], **options: Any) -> Path:
    form = FORMATS[name]
    path = folder / f"{name}{form.suffix}"
    path.write_bytes(encode(random_pixels(form.bits), form, texts, **options).content)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    texts = file_texts(RECORD, GRAPH)
    path = write(tmp_path, name, texts)
    with Image.open(path) as image:
        assert image.size == (24, 16)
        assert texts_in(image) == texts
    assert read_record(path) == RECORD


@pytest.mark.parametrize("name", FORMATS)
def test_without_texts_a_file_says_nothing(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, {})
    with Image.open(path) as image:
        assert texts_in(image) == {}
        assert not image.getexif()
    with pytest.raises(InvalidImage, match="without one"):
        read_record(path)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_keep_the_pixels_that_they_say_they_keep(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, file_texts(RECORD, {}), quality=100)
    assert keeps_pixels(path) is not FORMATS[name].lossy
    top = 2 ** FORMATS[name].bits - 1
    pixels = np.round(read_image(path).pixels * top)
    same = np.array_equal(pixels, random_pixels(FORMATS[name].bits))
    assert same is not FORMATS[name].lossy


def test_a_file_that_is_no_image_keeps_no_pixels(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"RIFF____WEBP", b"RIFF____WEBPVP8X\xff\xff\xff\xff"):
        (tmp_path / "x.webp").write_bytes(content)
        assert not keeps_pixels(tmp_path / "x.webp")


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_quality_counts(tmp_path: Path, name: str) -> None:
    sizes = [write(tmp_path, name, {}, quality=q).stat().st_size for q in (5, 50, 100)]
    assert sizes == sorted(set(sizes))


def tiff_strings(path: Path) -> dict[int, str]:
    """The texts of the first EXIF directory as ComfyUI's editor reads them: type 2, in UTF-8."""
    content = path.read_bytes()
    start = content.index(b"MM\0*")
    (directory,) = struct.unpack_from(">I", content, start + 4)
    (number,) = struct.unpack_from(">H", content, start + directory)
    texts = {}
    for place in range(number):
        at = start + directory + 2 + 12 * place
        tag, kind, size, offset = struct.unpack_from(">HHII", content, at)
        if kind == 2:
            texts[tag] = content[start + offset : start + offset + size - 1].decode()
    return texts


@pytest.mark.parametrize("name", ["jpeg", "webp", "webp lossless", "avif"])
def test_the_graph_lies_where_comfyui_looks_for_it(tmp_path: Path, name: str) -> None:
    texts = tiff_strings(write(tmp_path, name, file_texts(RECORD, GRAPH)))
    for tag, key in ((0x0110, "prompt"), (0x010F, "workflow")):
        found, _, text = texts[tag].partition(":")
        assert found == key
        assert json.loads(text) == GRAPH[key]
    assert min(texts.keys() - {0x0110, 0x010F}) >= 65000  # left to private use by TIFF


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_parameters_are_a_user_comment_in_unicode(tmp_path: Path, name: str) -> None:
    texts = file_texts(RECORD, {})
    with Image.open(write(tmp_path, name, texts)) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == texts["parameters"]


def test_comments_of_others_are_read(tmp_path: Path) -> None:
    for comment in (b"ASCII\0\0\0a red box", b"a red box\0"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = comment
        exif[0x010F] = "a camera"
        Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=exif)
        with Image.open(tmp_path / "x.jpg") as image:
            assert texts_in(image) == {"parameters": "a red box"}


@pytest.mark.parametrize(
    ("size", "left_out"), [(30_000, ()), (70_000, ("workflow",)), (65_000, ("workflow",))]
)
def test_a_jpeg_leaves_out_what_it_has_no_room_for(
    tmp_path: Path, size: int, left_out: tuple[str, ...]
) -> None:
    texts = file_texts(RECORD, {"workflow": "x" * size, "more": "small"})
    encoded = encode(random_pixels(), FORMATS["jpeg"], texts)
    assert encoded.left_out == left_out
    with Image.open(BytesIO(encoded.content)) as image:
        assert texts_in(image).keys() == texts.keys() - set(left_out)
    for name in ("webp", "avif", "png"):
        assert encode(random_pixels(), FORMATS[name], texts).left_out == ()
        with Image.open(write(tmp_path, name, texts)) as image:
            assert texts_in(image) == texts


def test_our_own_texts_win_over_those_of_a_graph() -> None:
    texts = file_texts(RECORD, {"batch_sdxl": "x", "parameters": "y"})
    assert texts["batch_sdxl"] == RECORD.to_json()
    assert texts["parameters"].endswith("Model: demo, RNG: CPU")


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_are_written_and_read(tmp_path: Path, channels: int) -> None:
    values = random_pixels(16, channels)
    values[:, :12] = np.arange(16, dtype=np.uint16)[:, None, None] * 4099  # smooth parts too
    path = tmp_path / "deep.png"
    path.write_bytes(encode(values, FORMATS["png 16 bit"], {}).content)
    source = read_image(path)
    assert np.array_equal(np.round(source.pixels * 65535), values[..., :3])
    if channels == 4:
        assert source.mask is not None
        assert np.allclose(1 - source.mask, values[..., 3] / 65535, atol=1e-6)


def test_a_png_of_16_bits_is_well_formed() -> None:
    content = encode(random_pixels(16), FORMATS["png 16 bit"], {"parameters": "ü"}).content
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    names, at = [], 8
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        body = content[at + 4 : at + 8 + size]
        assert struct.unpack_from(">I", content, at + 8 + size)[0] == zlib.crc32(body)
        names.append(body[:4])
        at += 12 + size
    assert names == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    with Image.open(BytesIO(content)) as image:
        high = np.asarray(image)  # Pillow reads the high byte of colour
    assert np.array_equal(high, random_pixels(16) >> 8)


def test_16_bits_hold_what_was_not_rounded_and_8_bits_exactly() -> None:
    floats = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(0))
    assert (to_uint16(floats) / 65535.0 - floats.numpy()).max() <= 0.5 / 65535 + 1e-9
    whole = torch.arange(256).reshape(1, 256, 1).expand(1, 256, 3)
    assert np.array_equal(to_uint16(whole.float() / 255), whole.numpy() * 257)


def test_an_image_that_a_format_cannot_hold_is_named() -> None:
    with pytest.raises(OutputError, match="JPEG can hold, got one of 24 x 16 pixels and 4 ch"):
        encode(random_pixels(channels=4), FORMATS["jpeg"], {})
    with pytest.raises(OutputError, match="1 channels"):
        encode(random_pixels(channels=1), FORMATS["png"], {})
    with pytest.raises(OutputError, match="20000 x 1 pixels"):
        encode(np.zeros((1, 20_000, 3), np.uint8), FORMATS["webp"], {})


def test_an_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(OutputError, match=r"png, png 16 bit, jpeg.*got 'bmp'"):
        find_format("bmp")
    assert find_format("webp") is FORMATS["webp"]


def test_the_first_free_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_bytes(b"precious")
    assert write_new(tmp_path / "new", iter("abc"), b"x").name == "b"
    assert write_new(tmp_path / "new", iter("abc"), b"y").name == "c"
    assert (tmp_path / "new" / "a").read_bytes() == b"precious"


def test_numbers_go_on_from_the_largest(tmp_path: Path) -> None:
    assert next_number(tmp_path / "not there", "a_") == 1
    for name in ("a_00007_x.png", "a_3.jpg", "b_9.png", "a_x.png"):
        (tmp_path / name).touch()
    assert next_number(tmp_path, "a_") == 8
    assert save_png(tmp_path, "a_*_seed1", random_pixels()).name == "a_00008_seed1.png"


def test_what_cannot_be_written_whole_is_taken_away(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_new(tmp_path / "file", iter("a"), b"x")
    with pytest.raises(TypeError):
        write_new(tmp_path, iter("a"), "no bytes")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()
