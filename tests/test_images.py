"""What the pixels of a file become, for every kind of file that people have."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core.errors import InvalidImage, OutputError
from batch_sdxl.core.images.source import FITS, SourceImage, read_image, to_uint8
from batch_sdxl.core.saving.writer import save_png
from numpy.typing import NDArray
from PIL import Image, ImageCms

Write = Callable[[Path], None]
Values = NDArray[Any]

#: 6 x 4 pixels, all different.
RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
GREY, ALPHA = RGB[..., 0], RGB[..., 1]
#: 48 x 32 pixels in flat parts, which lossy formats hardly change.
FLAT = np.kron(RGB, np.ones((16, 8, 1), np.uint8))[:32, :48]
#: 6 x 4 pixels of 16 bits, from black to white.
RGB16 = np.linspace(0, 65535, 72).astype(np.uint16).reshape(4, 6, 3)
GREY16, ALPHA16 = RGB16[..., 0], RGB16[..., 1]


def pil(mode: str, values: Values, **options: Any) -> Write:
    """Writes with Pillow, in the format of the name's ending."""

    def write(path: Path) -> None:
        if values.ndim == 2:
            image = Image.fromarray(values)
        else:
            image = Image.merge(mode, [Image.fromarray(b) for b in np.moveaxis(values, 2, 0)])
        image.save(path, **options)

    return write


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: Values, kind: int, depth: int, *extra: tuple[bytes, bytes], lace: int = 0) -> Write:
    """Writes a PNG by hand, since Pillow writes colour of 8 bits only."""
    rows = values.astype(">u2") if depth == 16 else values.astype(np.uint8)
    size = (rows.shape[1] if depth >= 8 else rows.shape[1] * 8 // depth, rows.shape[0])
    # Interlaced: each pixel of a row of two is a pass of its own.
    lines = rows[0] if lace else rows
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, lace)
    parts = [(b"IHDR", header), *extra, (b"IDAT", data), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    return lambda path: [path.write_bytes(content)].clear()


def tiff(values: Values, order: str, compression: int = 1) -> Write:
    """Writes a TIFF of 16 bits by hand."""
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    height, width, bands = values.shape
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [16] * bands)]
    tags += [(259, 3, [compression]), (262, 3, [2]), (273, 4, [8]), (277, 3, [bands])]
    tags += [(278, 4, [height]), (279, 4, [len(data)]), (284, 3, [1])]
    tags += [(338, 3, [2])] if bands == 4 else []
    start, far = 8 + len(data), b""
    after = start + 2 + 12 * len(tags) + 4
    table = struct.pack(f"{order}H", len(tags))
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            packed, far = struct.pack(f"{order}I", after + len(far)), far + packed
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    content = head + data + table + struct.pack(f"{order}I", 0) + far
    return lambda path: [path.write_bytes(content)].clear()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
#: In it, the file's red is blue and its blue is red.
SWAPPED = SRGB.replace(b"rXYZ", b"xxxx", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"xxxx", b"bXYZ")


def linear_grey() -> bytes:
    """An ICC profile of grey with gamma 1."""
    tags = [
        (b"wtpt", b"XYZ \0\0\0\0" + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)),
        (b"kTRC", b"curv\0\0\0\0\0\0\0\0"),
    ]
    at, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content
    header = struct.pack(
        ">I4sI4s4s4s", at + len(data), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ "
    )
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + table + data


def grey(values: Values) -> Values:
    return np.repeat(values[..., None], 3, axis=2)


def turned(values: Values, orientation: int) -> Values:
    """What a file of these values shows, by the EXIF standard's words."""
    flipped = values[:, ::-1]
    return {
        1: values,
        2: flipped,  # row 0 is the top, column 0 the right
        3: values[::-1, ::-1],
        4: values[::-1],
        5: np.swapaxes(values, 0, 1),
        6: np.rot90(values, -1),
        7: np.rot90(flipped, -1),
        8: np.rot90(values),
    }[orientation]


SWAPPED_RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
PALETTE = np.array([[0, 1, 2]], np.uint8)


def palette(transparency: int | bytes | None = None, **options: Any) -> Write:
    if transparency is not None:
        options["transparency"] = transparency

    def write(path: Path) -> None:
        image = Image.fromarray(PALETTE)
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.save(path, **options)

    return write


def many(*frames: Values, **options: Any) -> Write:
    first, *others = map(Image.fromarray, frames)
    return lambda path: first.save(path, save_all=True, append_images=others, **options)


def lab(path: Path) -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    image = ImageCms.applyTransform(Image.fromarray(FLAT), to_lab)
    assert image is not None
    image.save(path)


RED_BLUE = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], float)
CMYK = np.array([[[0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 255]]], np.uint8)
CMYK_RGB = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]], float)
LARGE_CMYK = np.kron(CMYK, np.ones((16, 16, 1), np.uint8))
LARGE_CMYK_RGB = np.kron(CMYK_RGB, np.ones((16, 16, 1)))
CLEAR16 = tuple(int(v) for v in RGB16[1, 2])
IS_CLEAR = np.zeros((4, 6))
IS_CLEAR[1, 2] = 1
APART = np.array([[0, 85, 170, 255]], np.uint8)

#: name of the file, how it is written, its colours and its mask in 0..1, how far off they may be.
Case = tuple[str, Write, Values, Values | None, float]
CASES: list[Case] = [
    # 8 bits, without loss
    ("rgb.png", pil("RGB", RGB), RGB / 255, None, 0),
    ("interlaced.png", png(RGB[:1, :2], 2, 8, lace=1), RGB[:1, :2] / 255, None, 0),
    ("rgb.apng", pil("RGB", RGB, format="PNG"), RGB / 255, None, 0),
    ("rgb.bmp", pil("RGB", RGB), RGB / 255, None, 0),
    ("rgb.webp", pil("RGB", RGB, lossless=True), RGB / 255, None, 0),
    ("rgb.ppm", pil("RGB", RGB), RGB / 255, None, 0),
    ("rgb.tif", pil("RGB", RGB), RGB / 255, None, 0),
    ("lzw.tiff", pil("RGB", RGB, compression="tiff_lzw"), RGB / 255, None, 0),
    ("deflate.tiff", pil("RGB", RGB, compression="tiff_adobe_deflate"), RGB / 255, None, 0),
    ("png-in-truth.jpg", pil("RGB", RGB, format="PNG"), RGB / 255, None, 0),
    ("no-ending", pil("RGB", RGB, format="PNG"), RGB / 255, None, 0),
    # with loss
    ("rgb.jpg", pil("RGB", FLAT, quality=98, subsampling=0), FLAT / 255, None, 0.03),
    ("progressive.jpeg", pil("RGB", FLAT, quality=98, subsampling=0, progressive=True),
     FLAT / 255, None, 0.03),
    ("rgb.jfif", pil("RGB", FLAT, format="JPEG", quality=98, subsampling=0),
     FLAT / 255, None, 0.03),
    ("lossy.webp", pil("RGB", FLAT[:16, :8], quality=100), FLAT[:16, :8] / 255, None, 0.03),
    ("rgb.avif", pil("RGB", FLAT, quality=100, subsampling="4:4:4"), FLAT / 255, None, 0.03),
    ("rgb.jp2", pil("RGB", FLAT), FLAT / 255, None, 0.01),
    # grey, few bits, palettes
    ("grey.png", pil("L", GREY), grey(GREY) / 255, None, 0),
    ("grey.jpg", pil("L", FLAT[..., 0], quality=98), grey(FLAT[..., 0]) / 255, None, 0.03),
    ("grey.tif", pil("L", GREY), grey(GREY) / 255, None, 0),
    ("1-bit.png", png(np.array([[0b10100000]], np.uint8), 0, 1),
     grey(np.array([[1, 0, 1, 0, 0, 0, 0, 0]], float)), None, 0),
    ("2-bit.png", png(np.array([[0b00011011]], np.uint8), 0, 2), grey(APART) / 255, None, 0),
    ("palette.png", palette(), RED_BLUE, None, 0),
    ("palette.gif", palette(), RED_BLUE, None, 0),
    ("palette.bmp", palette(), RED_BLUE, None, 0),
    # transparency
    ("rgba.png", pil("RGBA", np.dstack([RGB, ALPHA])), RGB / 255, 1 - ALPHA / 255, 0),
    ("rgba.webp", pil("RGBA", np.dstack([RGB, ALPHA]), lossless=True, exact=True),
     RGB / 255, 1 - ALPHA / 255, 0),
    ("rgba.tif", pil("RGBA", np.dstack([RGB, ALPHA])), RGB / 255, 1 - ALPHA / 255, 0),
    ("rgba.avif", pil("RGBA", np.dstack([FLAT, FLAT[..., 0]]), quality=100, subsampling="4:4:4"),
     FLAT / 255, 1 - FLAT[..., 0] / 255, 0.03),
    ("grey-alpha.png", pil("LA", np.dstack([GREY, ALPHA])), grey(GREY) / 255, 1 - ALPHA / 255, 0),
    ("palette-one-clear.png", palette(1), RED_BLUE, np.array([[0, 1, 0]], float), 0),
    ("palette-alphas.png", palette(bytes([255, 51, 0])),
     RED_BLUE, np.array([[0, 0.8, 1]], float), 0),
    ("clear.gif", palette(2), RED_BLUE, np.array([[0, 0, 1]], float), 0),
    ("clear-colour.png", pil("RGB", RGB, transparency=tuple(map(int, RGB[1, 2]))),
     RGB / 255, IS_CLEAR, 0),
    ("clear-grey.png", pil("L", APART, transparency=85),
     grey(APART) / 255, np.array([[0, 1, 0, 0]], float), 0),
    ("clear-2-bit.png", png(np.array([[0b00011011]], np.uint8), 0, 2, (b"tRNS", b"\0\1")),
     grey(APART) / 255, np.array([[0, 1, 0, 0]], float), 0),
    ("clear-1-bit.png", png(np.array([[0b10100000]], np.uint8), 0, 1, (b"tRNS", b"\0\1")),
     grey(np.array([[1, 0, 1, 0, 0, 0, 0, 0]])), np.array([[1, 0, 1, 0, 0, 0, 0, 0]], float), 0),
    # 16 bits and more
    ("grey16.png", png(GREY16, 0, 16), grey(GREY16) / 65535, None, 1e-7),
    ("grey16-clear.png", png(GREY16, 0, 16, (b"tRNS", struct.pack(">H", GREY16[1, 2]))),
     grey(GREY16) / 65535, IS_CLEAR, 1e-7),
    ("grey16-alpha.png", png(np.dstack([GREY16, ALPHA16]), 4, 16),
     grey(GREY16) / 65535, 1 - ALPHA16 / 65535, 1e-7),
    ("rgb16.png", png(RGB16, 2, 16), RGB16 / 65535, None, 1e-7),
    ("rgb16-interlaced.png", png(RGB16[:1, :2], 2, 16, lace=1), RGB16[:1, :2] / 65535, None, 1e-7),
    ("rgb16-clear.png", png(RGB16, 2, 16, (b"tRNS", struct.pack(">HHH", *CLEAR16))),
     RGB16 / 65535, IS_CLEAR, 1e-7),
    ("rgba16.png", png(np.dstack([RGB16, ALPHA16]), 6, 16),
     RGB16 / 65535, 1 - ALPHA16 / 65535, 1e-7),
    ("grey16.tif", pil("I;16", GREY16), grey(GREY16) / 65535, None, 1e-7),
    ("rgb16-little.tif", tiff(RGB16, "<"), RGB16 / 65535, None, 1e-7),
    ("rgb16-big.tif", tiff(RGB16, ">"), RGB16 / 65535, None, 1e-7),
    ("rgb16-deflate.tif", tiff(RGB16, "<", 8), RGB16 / 65535, None, 1e-7),
    ("rgb16-big-deflate.tif", tiff(RGB16, ">", 8), RGB16 / 65535, None, 1e-7),
    ("rgba16.tif", tiff(np.dstack([RGB16, ALPHA16]), ">"),
     RGB16 / 65535, 1 - ALPHA16 / 65535, 1e-7),
    ("grey32.tif", pil("I", GREY16.astype(np.int32)), grey(GREY16) / 65535, None, 1e-7),
    ("float.tif", pil("F", (GREY16 / 65535).astype(np.float32)),
     grey(GREY16) / 65535, None, 1e-7),
    # other colours
    ("cmyk.tif", pil("CMYK", CMYK), CMYK_RGB, None, 0),
    ("cmyk.jpg", pil("CMYK", LARGE_CMYK, quality=98), LARGE_CMYK_RGB, None, 0.03),
    ("lab.tif", lab, FLAT / 255, None, 0.06),
    ("srgb-profile.png", pil("RGB", RGB, icc_profile=SRGB), RGB / 255, None, 0),
    ("profile.png", pil("RGB", SWAPPED_RGB, icc_profile=SWAPPED),
     RED_BLUE[:, ::-1], None, 0.01),
    ("profile.jpg", pil("RGB", np.kron(SWAPPED_RGB, np.ones((16, 16, 1), np.uint8)),
                        icc_profile=SWAPPED, quality=98, subsampling=0),
     np.kron(RED_BLUE[:, ::-1], np.ones((16, 16, 1))), None, 0.03),
    ("profile-alpha.png", pil("RGBA", np.dstack([SWAPPED_RGB, PALETTE]), icc_profile=SWAPPED),
     RED_BLUE[:, ::-1], 1 - PALETTE / 255, 0.01),
    ("profile-palette.png", palette(icc_profile=SWAPPED), RED_BLUE[:, ::-1], None, 0.01),
    ("profile-16.png", png(SWAPPED_RGB.astype(np.uint16) * 257, 2, 16,
                           (b"iCCP", b"x\0\0" + zlib.compress(SWAPPED))),
     RED_BLUE[:, ::-1], None, 0.01),
    ("profile-grey.png", pil("L", np.array([[0, 55, 255]], np.uint8), icc_profile=linear_grey()),
     grey(np.array([[0, 128 / 255, 1]], float)), None, 0.01),
    # upright
    *((f"turn-{k}.jpg", pil("RGB", FLAT, quality=98, subsampling=0, exif=exif(k)),
       turned(FLAT, k) / 255, None, 0.03) for k in range(1, 9)),
    ("turn-7.png", pil("RGB", RGB, exif=exif(7)), turned(RGB, 7) / 255, None, 0),
    ("turn-5.tif", pil("RGB", RGB, exif=exif(5)), turned(RGB, 5) / 255, None, 0),
    ("turn-6.webp", pil("RGB", RGB, exif=exif(6), lossless=True), turned(RGB, 6) / 255, None, 0),
    ("turn-8.avif", pil("RGB", FLAT, exif=exif(8), quality=100, subsampling="4:4:4"),
     turned(FLAT, 8) / 255, None, 0.03),
    ("turn-6-16.png", png(RGB16, 2, 16, (b"eXIf", exif(6).tobytes()[6:])),
     turned(RGB16, 6) / 65535, None, 1e-7),
    ("turn-6-grey16.png", png(GREY16, 0, 16, (b"eXIf", exif(6).tobytes()[6:])),
     grey(turned(GREY16, 6)) / 65535, None, 1e-7),
    # of several frames, the first
    ("frames.gif", many(GREY, GREY[::-1]), grey(GREY) / 255, None, 0),
    ("frames.png", many(RGB, RGB[::-1]), RGB / 255, None, 0),
    ("frames.webp", many(RGB, RGB[::-1], lossless=True), RGB / 255, None, 0),
    ("pages.tif", many(RGB, RGB[:2]), RGB / 255, None, 0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_pixels_are_what_the_file_shows(tmp_path: Path, case: Case) -> None:
    name, write, colours, mask, off = case
    write(tmp_path / name)
    source = read_image(tmp_path / name)
    assert source.name == name
    assert source.pixels.dtype == np.float32
    assert source.pixels.shape == colours.shape
    # Exact means float32 of k / 255, the same bits.
    expected = colours.astype(np.float32)
    assert np.abs(source.pixels - expected).max() <= off
    if mask is None:
        assert source.mask is None
    else:
        assert source.mask is not None
        np.testing.assert_allclose(source.mask, mask, atol=max(off, 1e-6))


def test_there_are_sixty_kinds_of_files() -> None:
    assert len({case[0] for case in CASES}) >= 60


def test_eight_bits_are_255ths_bit_for_bit(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    expected = RGB.astype(np.float32) / np.float32(255)
    assert read_image(tmp_path / "a.png").pixels.tobytes() == expected.tobytes()
    assert SourceImage.of(Image.fromarray(RGB)).pixels.tobytes() == expected.tobytes()


def test_what_stays_of_sixteen_bits_is_said_by_the_values(tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    png(ramp, 0, 16)(tmp_path / "a.png")
    grey16 = read_image(tmp_path / "a.png").pixels
    assert np.unique(grey16).size == 65536
    assert grey16.mean() == pytest.approx(0.5, abs=1e-4)
    colour = np.dstack([ramp, ramp[::-1], ramp.T])
    png(colour, 2, 16)(tmp_path / "b.png")
    assert np.array_equal(np.rint(read_image(tmp_path / "b.png").pixels * 65535), colour)
    with Image.open(tmp_path / "b.png") as image:  # nothing to read it again from: 8 bits
        assert np.abs(SourceImage.of(image).pixels * 65535 - colour).max() <= 256


@pytest.mark.parametrize(
    "write",
    [
        pil("F", np.array([[0, 1.5]], np.float32)),
        pil("F", np.array([[0, np.nan]], np.float32)),
        pil("I", np.array([[0, 70000]], np.int32)),
        pil("I", np.array([[-1, 0]], np.int32)),
    ],
)
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.tif")
    with pytest.raises(InvalidImage, match="grey values in 0"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("values", "profile"),
    [(RGB, b"no profile"), (RGB, SWAPPED[:300]), (RGB, linear_grey())],
    ids=["nonsense", "cut off", "of grey"],
)
def test_a_profile_that_is_no_use_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, values: Values, profile: bytes
) -> None:
    pil("RGB", values, icc_profile=profile)(tmp_path / "a.png")
    assert np.array_equal(np.rint(read_image(tmp_path / "a.png").pixels * 255), values)
    assert "a.png: its colour profile" in caplog.text


@pytest.mark.parametrize(
    ("fit", "left", "middle"), [("crop", 200, 200), ("pad", 0, 200), ("stretch", 200, 200)]
)
@pytest.mark.parametrize("depth", [8, 16])
def test_an_image_is_brought_to_size(
    tmp_path: Path, fit: str, left: int, middle: int, depth: int
) -> None:
    values = np.full((16, 8, 3), 200 * (257 if depth == 16 else 1), np.uint16)
    png(values, 2, depth)(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", (16, 16), fit).pixels
    assert pixels.shape == (16, 16, 3)
    assert round(pixels[8, 0, 0] * 255) == left
    assert round(pixels[8, 8, 0] * 255) == middle


@pytest.mark.parametrize("fit", FITS)
def test_sixteen_bits_are_resized_as_eight_are(tmp_path: Path, fit: str) -> None:
    values = np.dstack([FLAT, FLAT[::-1, :, 0]]).astype(np.uint16)
    values[:8, :, 3] = 0
    png(values, 6, 8)(tmp_path / "a.png")
    png(values * 257, 6, 16)(tmp_path / "b.png")
    eight, deep = (read_image(tmp_path / name, (31, 17), fit) for name in ("a.png", "b.png"))
    assert eight.mask is not None
    assert deep.mask is not None
    np.testing.assert_allclose(deep.mask, eight.mask, atol=0.02)  # 8 bits are rounded twice
    seen = eight.mask < 0.5
    np.testing.assert_allclose(deep.pixels[seen], eight.pixels[seen], atol=0.03)


def test_an_image_in_memory_that_is_damaged_is_our_error() -> None:
    content = BytesIO()
    Image.effect_noise((64, 64), 50).save(content, "PNG")
    with pytest.raises(InvalidImage, match="photo"):
        SourceImage.of(Image.open(BytesIO(content.getvalue()[:1000])), "photo")


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
