"""Finding files, and what is said of those that are no images."""

import os
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage
from batch_sdxl.core.images.files import MAX_PIXELS, ORDERS, frame_sizes, list_images
from batch_sdxl.core.images.source import read_frames, read_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile


def names(files: list[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "1.JPG", "a.webp", "notes.txt", "data.xml", "._1.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert names(list_images(tmp_path), tmp_path) == ["1.JPG", "2.png", "10.png", "a.webp"]


def test_every_order_is_as_it_says(tmp_path: Path) -> None:
    for name, time in (("10.png", 3), ("2.png", 1), ("b.png", 2), ("B.png", 2)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    assert {order: names(list_images(tmp_path, order), tmp_path) for order in ORDERS} == {
        "natural": ["2.png", "10.png", "B.png", "b.png"],
        "alphabetical": ["10.png", "2.png", "B.png", "b.png"],
        "oldest first": ["2.png", "B.png", "b.png", "10.png"],
        "newest first": ["10.png", "B.png", "b.png", "2.png"],
    }


def test_subfolders_are_searched_when_asked_for(tmp_path: Path) -> None:
    for name in ("x.png", "s10/1.png", "s2/deep/3.png", "s2/1.png", ".trash/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "s2" / "circle").symlink_to(tmp_path)
    assert names(list_images(tmp_path), tmp_path) == ["x.png"]
    found = names(list_images(tmp_path, subfolders=True), tmp_path)
    assert found == ["s2/1.png", "s2/deep/3.png", "s10/1.png", "x.png"]


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"\.png"):
        list_images(tmp_path)
    with pytest.raises(InvalidImage, match="missing"):
        list_images(tmp_path / "missing")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claims(width: int, height: int) -> bytes:
    """A PNG of some bytes that says it is so large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def saved(folder: Path, kind: str) -> bytes:
    path = folder / f"whole.{kind}"
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    return path.read_bytes()


BAD = {
    "empty.png": (b"", "an empty file"),
    "text.png": (b"this is text, of no image at all", "it holds text"),
    "page.jpg": (b"<html><body>404 Not Found</body></html>", "it holds text"),
    "broken.png": (b"\x89PNG\r\n\x1a\n broken", "can be read"),
    "zeros.png": (bytes(4096), "cannot identify"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n\xff", "cannot identify"),
    "bomb.png": (claims(60000, 60000), "3600000000|decompression bomb|60000 x 60000"),
    "wide.png": (claims(2**31 - 1, 1), "can be read|pixels"),
    "no-pixels.png": (claims(0, 5), "can be read|pixels"),
    "plist.heic": (b"\0\0\0\x18ftypheic" + bytes(64), "pillow-heif|can be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    for read in (read_image, frame_sizes):
        with pytest.raises(InvalidImage, match=reason) as caught:
            read(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "avif", "bmp", "gif", "tif", "jp2"])
def test_a_truncated_file_is_named(tmp_path: Path, kind: str, part: float) -> None:
    content = saved(tmp_path, kind)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InvalidImage, match=rf"cut\.{kind}"):
        read_image(path)


def test_truncated_files_are_named_whatever_others_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other packs do
    for kind in ("png", "jpg", "bmp"):
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(saved(tmp_path, kind)[:1500])
        with pytest.raises(InvalidImage, match=rf"cut\.{kind}"):
            read_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait forever
    for name in ("folder", "link", "circle", "pipe", "none"):
        with pytest.raises(InvalidImage, match=f"{name}.png"):
            read_image(tmp_path / f"{name}.png")


def test_the_limit_of_pixels_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as other packs do
    (tmp_path / "bomb.png").write_bytes(claims(20000, 20000))
    with pytest.raises(InvalidImage, match=f"1 to {MAX_PIXELS} pixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("name", "head", "module", "package"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "pillow_heif", "pillow-heif"),
        ("a.jxl", b"\xff\x0a" + bytes(64), "pillow_jxl", "pillow-jxl-plugin"),
        ("b.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64), "pillow_jxl", "pillow-jxl-plugin"),
    ],
)
def test_the_plugin_that_a_format_needs_is_named(
    tmp_path: Path, name: str, head: bytes, module: str, package: str
) -> None:
    if find_spec(module):
        pytest.skip(f"{package} is installed")
    (tmp_path / name).write_bytes(head)
    with pytest.raises(InvalidImage, match=f"pip install {package}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "module", "format"),
    [("a.heic", "pillow_heif", "HEIF"), ("a.jxl", "pillow_jxl", "JXL")],
)
def test_formats_of_plugins_are_read(tmp_path: Path, name: str, module: str, format: str) -> None:
    pytest.importorskip(module)
    (tmp_path / "other.png").touch()
    with pytest.raises(InvalidImage):  # the plugins are found by the first file that is read
        read_image(tmp_path / "other.png")
    Image.new("RGB", (64, 32), (250, 120, 30)).save(tmp_path / name, format, quality=95)
    source = read_image(tmp_path / name)
    assert (source.width, source.height) == (64, 32)
    assert (source.pixels[9, 9] * 255).tolist() == pytest.approx([250, 120, 30], abs=6)


def test_frames_are_counted_and_read(tmp_path: Path) -> None:
    shades = [Image.new("RGB", (8, 4), (50 * k,) * 3) for k in (1, 2, 3)]
    pages = [*shades[:2], Image.new("RGB", (6, 6), (150,) * 3)]
    turned = Image.Exif()
    turned[0x0112] = 6
    options: dict[str, Any] = {"save_all": True, "append_images": shades[1:]}
    shades[0].save(tmp_path / "a.gif", **options)
    shades[0].save(tmp_path / "a.png", **options)
    shades[0].save(tmp_path / "a.webp", **options, lossless=True)
    shades[0].save(tmp_path / "a.avif", **options, quality=100)
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    shades[0].save(tmp_path / "turned.webp", **options, lossless=True, exif=turned)
    expected = {name: [(8, 4)] * 3 for name in ("a.gif", "a.png", "a.webp", "a.avif")}
    expected |= {"a.tif": [(8, 4), (8, 4), (6, 6)], "turned.webp": [(4, 8)] * 3}
    for name, sizes in expected.items():
        assert frame_sizes(tmp_path / name) == sizes[:1]
        assert frame_sizes(tmp_path / name, "all") == sizes, name
        frames = list(read_frames(tmp_path / name, [None] * 3))
        assert [(frame.width, frame.height) for frame in frames] == sizes, name
        levels = [round(float(frame.pixels[2, 2, 0]) * 255) for frame in frames]
        assert levels == pytest.approx([50, 100, 150], abs=2), name


def test_the_preview_in_a_photo_is_no_frame(tmp_path: Path) -> None:
    big, small = Image.new("RGB", (32, 32)), Image.new("RGB", (16, 16))
    big.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small])
    assert frame_sizes(tmp_path / "a.jpg", "all") == [(32, 32)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small files of every format, to be damaged."""
    folder = tmp_path_factory.mktemp("fuzz")
    noise = np.random.default_rng(0).integers(0, 256, (7, 9), np.uint8)
    image = Image.fromarray(noise)
    contents = []
    for kind in ("png", "jpg", "webp", "avif", "bmp", "gif", "tif", "jp2", "ppm", "ico"):
        for mode in ("RGB", "RGBA", "L", "P"):
            path = folder / f"a.{kind}"
            try:
                frames = (
                    [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert(mode)]
                    if kind in ("png", "gif", "tif")
                    else []
                )
                image.convert(mode).save(path, save_all=bool(frames), append_images=frames)
            except OSError:  # not all formats have all modes
                continue
            contents.append(path.read_bytes())
    assert len(contents) > 25
    return contents


#: What to change: the byte of a place among the first 64 or anywhere, a part to cut out, or nothing
#: but these bytes.
DAMAGE = {
    "pick": st.integers(0, 1000),
    "edits": st.lists(st.tuples(st.integers(0, 63) | st.integers(0, 5000), st.integers(0, 255))),
    "start": st.integers(0, 5000),
    "cut": st.sampled_from([0, 0, 1, 4, 5000]),
    "instead": st.none() | st.none() | st.binary(max_size=64),
}
FUZZ: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def damage(
    path: Path,
    contents: list[bytes],
    pick: int,
    edits: list[tuple[int, int]],
    start: int,
    cut: int,
    instead: bytes | None,
) -> None:
    content = bytearray(contents[pick % len(contents)])
    for place, byte in edits:
        content[place % len(content)] = byte
    start %= len(content)
    del content[start : start + cut]
    path.write_bytes(content if instead is None else instead)
    try:
        sizes = frame_sizes(path, "all")
        for frame in read_frames(path, [(8, 8)] * len(sizes), "pad"):
            assert frame.pixels.shape == (8, 8, 3)
            assert frame.pixels.min() >= 0
            assert frame.pixels.max() <= 1
    except BatchSDXLError as error:
        assert path.name in str(error)


@settings(max_examples=300, derandomize=True, **FUZZ)
@given(**DAMAGE)
def test_damage_is_always_our_error(tmp_path: Path, whole: list[bytes], **how: Any) -> None:
    damage(tmp_path / "bad.png", whole, **how)


@pytest.mark.slow
@settings(max_examples=10_000, **FUZZ)
@given(**DAMAGE)
def test_damage_is_always_our_error_in_ten_thousand_files(
    tmp_path: Path, whole: list[bytes], **how: Any
) -> None:
    damage(tmp_path / "bad.png", whole, **how)
