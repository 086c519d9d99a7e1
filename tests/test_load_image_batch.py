"""LoadImageBatch, and the batches that files come out in."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage
from batch_sdxl.core.images.buckets import BUCKETS, bucket
from batch_sdxl.core.images.source import read_image
from batch_sdxl.host import host
from batch_sdxl.nodes.load_image_batch import LoadImageBatch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile


class Folder(host.Host):
    def __init__(self, root: Path) -> None:
        self._root = root
        self.asked = 0
        self.cancelled_at = 0

    def input_folders(self) -> list[Path]:
        return [self._root]

    def check_cancelled(self) -> None:
        self.asked += 1
        if self.asked == self.cancelled_at:
            raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Holds `shapes`: 1, 2 and 10, of 16 x 8 pixels, as bright as 10 times their number."""
    (tmp_path / "shapes").mkdir()
    for number in (10, 2, 1):
        put(tmp_path / "shapes" / f"{number}.png", 10 * number)
    with host.use(Folder(tmp_path)):
        yield tmp_path


def put(path: Path, shade: int, size: tuple[int, int] = (16, 8), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade,) * 3).save(path, **options)


def load(folder: str = "shapes", **inputs: Any) -> dict[str, Any]:
    usual = {"width": 0, "height": 0, "fit": "crop", "limit": 0}
    return LoadImageBatch().run(folder=folder, **{**usual, **inputs})


def shades(images: list[torch.Tensor]) -> list[list[int]]:
    """The brightness in the middle of each image, of each batch."""
    return [
        (b[:, b.shape[1] // 2, b.shape[2] // 2, 0] * 255).round().int().tolist() for b in images
    ]


def test_images_of_one_size_are_one_batch(folder: Path) -> None:
    images, masks, names, count = load()["result"]
    assert [(batch.shape, batch.dtype) for batch in images] == [((3, 8, 16, 3), torch.float32)]
    assert [(batch.shape, batch.dtype) for batch in masks] == [((3, 8, 16), torch.float32)]
    assert shades(images) == [[10, 20, 100]]
    assert not masks[0].any()
    assert (names, count) == (["1.png", "2.png", "10.png"], 3)


def test_cancel_stops_between_images(folder: Path) -> None:
    caller = Folder(folder)
    caller.cancelled_at = 2
    with host.use(caller), pytest.raises(KeyboardInterrupt):
        load()
    assert caller.asked == 2


def test_images_of_several_sizes_are_several_batches_in_order(folder: Path) -> None:
    put(folder / "shapes" / "3.png", 30, (8, 8))
    loaded = load()
    images, masks, _, count = loaded["result"]
    assert shades(images) == [[10, 20], [30], [100]]
    assert [batch.shape for batch in masks] == [(2, 8, 16), (1, 8, 8), (1, 8, 16)]
    assert count == 4
    text = loaded["ui"]["text"][0]
    assert text.splitlines() == [
        "4 images in 3 batches: 3 of 16 x 8, 1 of 8 x 8",
        "1.png: 16 x 8",
        "2.png: 16 x 8",
        "3.png: 8 x 8",
        "10.png: 16 x 8",
    ]


def test_pixels_and_masks_are_those_of_the_files(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(4):
        values = rng.integers(0, 256, (24, 16, 4 if number % 2 else 3), np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    for size in ((0, 0), (16, 16)):
        images, masks, *_ = load(".", width=size[0], height=size[1])["result"]
        for number in range(4):
            source = read_image(folder / f"{number}.png", size if size[0] else None)
            assert np.array_equal(images[0][number].numpy(), source.pixels)
            expected = np.zeros_like(masks[0][0]) if source.mask is None else source.mask
            assert np.array_equal(masks[0][number].numpy(), expected)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_size_makes_one_batch_and_is_said(folder: Path, fit: str) -> None:
    put(folder / "shapes" / "3.png", 30, (8, 8))
    loaded = load(width=40, height=48, fit=fit)
    assert [batch.shape for batch in loaded["result"][0]] == [(4, 48, 40, 3)]
    assert f"3.png: 8 x 8 -> 40 x 48, {fit}" in loaded["ui"]["text"][0]


def test_buckets_are_sdxls(folder: Path) -> None:
    assert len(BUCKETS) == len(set(BUCKETS)) == 41
    assert all(w % 64 == h % 64 == 0 and 0.9 <= w * h / 1024**2 <= 1 for w, h in BUCKETS)
    assert bucket(4000, 3000) == (1152, 896)
    assert bucket(1080, 1920) == (768, 1344)
    assert bucket(10, 1) == (2048, 512)
    assert bucket(4000, 3000, area=256 * 256) == (288, 224)
    put(folder / "some" / "1.png", 10, (160, 120))
    put(folder / "some" / "2.png", 20, (120, 160))
    put(folder / "some" / "3.png", 30, (80, 61))
    loaded = load("some", width=256, height=256, fit="bucket")
    assert [b.shape[1:3] for b in loaded["result"][0]] == [(224, 288), (288, 224), (224, 288)]
    assert shades(loaded["result"][0]) == [[10], [20], [30]]
    assert "1.png: 160 x 120 -> 288 x 224, bucket" in loaded["ui"]["text"][0]
    (image,), *_ = load("some/1.png", fit="bucket")["result"]
    assert image.shape == (1, 896, 1152, 3)


def test_files_patterns_and_lists_are_loaded(folder: Path) -> None:
    put(folder / "more" / "7.png", 70)
    put(folder / "more" / "deep" / "8.png", 80)
    put(folder / "more" / "[a].jpg", 90)
    (folder / "more" / "notes.txt").touch()
    cases = {
        "shapes/2.png": ["shapes/2.png"],
        "shapes/1*": ["shapes/1.png", "shapes/10.png"],
        "more/*": ["more/7.png", "more/[a].jpg"],
        "more/[a].jpg": ["more/[a].jpg"],
        "# mine\n\n more/7.png \r\nshapes/2.png\nmore/7.png\nshapes": [
            *("more/7.png", "shapes/2.png", "more/7.png", "1.png", "2.png", "10.png")
        ],
    }
    for text, expected in cases.items():
        assert load(text)["result"][2] == expected, text
    assert load("more", subfolders=True)["result"][2] == ["7.png", "[a].jpg", "deep/8.png"]
    assert load("**/*.png", order="alphabetical", limit=2)["result"][2] == [
        "more/7.png",
        "more/deep/8.png",
    ]


def test_start_and_limit_choose_among_the_files(folder: Path) -> None:
    assert load(start=1)["result"][2] == ["2.png", "10.png"]
    assert load(start=1, limit=1)["result"][2] == ["2.png"]
    assert load(limit=9)["result"][3] == 3
    with pytest.raises(InvalidImage, match="0 to 2, for 3 files, got 3"):
        load(start=3)


def test_frames_of_an_animation_are_images_of_their_own(folder: Path) -> None:
    frames = [Image.new("RGB", (16, 8), (10 * k,) * 3) for k in (3, 4, 5)]
    frames[0].save(folder / "shapes" / "3.gif", save_all=True, append_images=frames[1:])
    images, _, names, _ = load()["result"]
    assert (shades(images), names[2]) == ([[10, 20, 30, 100]], "3.gif")
    images, _, names, count = load(frames="all")["result"]
    assert shades(images) == [[10, 20, 30, 40, 50, 100]]
    assert names == ["1.png", "2.png", "3.gif#1", "3.gif#2", "3.gif#3", "10.png"]
    assert count == 6


def bad(folder: Path) -> None:
    """Adds files that cannot be read: one early, by its head, and one late."""
    (folder / "shapes" / "0.png").write_text("no image")
    put(folder / "shapes" / "3.bmp", 30, (32, 32))
    content = (folder / "shapes" / "3.bmp").read_bytes()
    (folder / "shapes" / "3.bmp").write_bytes(content[:500])


def test_a_bad_file_stops_the_run_by_name(folder: Path) -> None:
    bad(folder)
    with pytest.raises(InvalidImage, match=r"0\.png"):
        load()
    with pytest.raises(InvalidImage, match=r"3\.bmp"):
        load(start=1)


def test_bad_files_are_left_out_and_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad(folder)
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        loaded = load(on_error="skip")
    images, masks, names, count = loaded["result"]
    assert (shades(images), names, count) == ([[10, 20, 100]], ["1.png", "2.png", "10.png"], 3)
    assert len(masks) == 1
    for said in (caplog.text, loaded["ui"]["text"][0]):
        assert "0.png: left out. Expected an image" in said
        assert "3.bmp: left out. Expected an image" in said


@pytest.mark.parametrize("size", [0, 64])
def test_placeholders_keep_the_places_of_bad_files(folder: Path, size: int) -> None:
    bad(folder)
    loaded = load(on_error="placeholder", width=size, height=size)
    images, masks, names, _ = loaded["result"]
    assert names == ["0.png", "1.png", "2.png", "3.bmp", "10.png"]
    # Of the neighbour's size, and of its own.
    sizes = [(64, 64)] * 5 if size else [(8, 16)] * 3 + [(32, 32), (8, 16)]
    assert [image.shape[:2] for batch in images for image in batch] == sizes
    assert [shade for batch in shades(images) for shade in batch] == [0, 10, 20, 0, 100]
    assert [mask.mean().item() for batch in masks for mask in batch] == [1, 0, 0, 1, 0]
    assert f"0.png: a black placeholder of {size or 16} x {size or 8}" in loaded["ui"]["text"][0]


@pytest.mark.parametrize("on_error", ["skip", "placeholder"])
def test_nothing_but_bad_files_is_an_error(folder: Path, on_error: str) -> None:
    for name in ("1", "2"):
        put(folder / "bad" / f"{name}.bmp", 30)
        (folder / "bad" / f"{name}.bmp").write_bytes(b"BM")
    for size in (0, 64):
        with pytest.raises(InvalidImage, match=r"2 files, none of which can: 1\.bmp"):
            load("bad", on_error=on_error, width=size, height=size)


def test_a_page_that_is_damaged_leaves_those_before_it(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 16, (4, 48, 48, 3), np.uint8)
    pages = [Image.fromarray(page) for page in noise]
    path = folder / "pages.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    with Image.open(path) as image:
        assert isinstance(image, TiffImageFile)
        image.seek(2)
        (start,), (length,) = (image.tag_v2[tag] for tag in (273, 279))  # where its pixels lie
    content = bytearray(path.read_bytes())
    content[start : start + length] = b"\xff" * length
    path.write_bytes(content)
    loaded = load("pages.tif", frames="all", on_error="skip")
    assert loaded["result"][2] == ["pages.tif#1", "pages.tif#2"]
    assert np.array_equal(np.rint(loaded["result"][0][0].numpy() * 255), noise[:2])
    assert "pages.tif#3 and 1 after it: left out" in loaded["ui"]["text"][0]
    kept = load("pages.tif", frames="all", on_error="placeholder")
    assert kept["result"][1][0].mean(dim=(1, 2)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["..", "../input", "missing", "/", "/etc", "no*", "", "# none"])
def test_what_cannot_be_loaded_is_refused_before_anything_runs(folder: Path, name: str) -> None:
    with pytest.raises(InvalidImage):
        load(name)
    assert isinstance(LoadImageBatch.VALIDATE_INPUTS(name, 0, 0), InvalidImage)


def test_a_link_to_elsewhere_is_refused(folder: Path, tmp_path_factory: Any) -> None:
    secret = tmp_path_factory.mktemp("secret") / "a.png"
    put(secret, 1)
    (folder / "shapes" / "z.png").symlink_to(secret)
    answer = LoadImageBatch.VALIDATE_INPUTS("shapes", 0, 0)
    assert isinstance(answer, BatchSDXLError)
    assert "z.png, a link" in str(answer)


@pytest.mark.parametrize("size", [(64, 0), (0, 64), (-8, -8), (16392, 64)])
def test_sizes_that_cannot_be_are_refused(folder: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImage, match="both set"):
        load(width=size[0], height=size[1])
    assert isinstance(LoadImageBatch.VALIDATE_INPUTS("shapes", *size), InvalidImage)


def test_what_is_wired_in_is_not_checked_early() -> None:
    assert LoadImageBatch.VALIDATE_INPUTS(None, None, None, None, None) is True


def test_the_cache_key_is_the_content_of_the_chosen_files(folder: Path) -> None:
    def key(**inputs: Any) -> Any:
        return LoadImageBatch.IS_CHANGED(**{"folder": "shapes", "width": 0, **inputs})

    before, first = key(), key(limit=1)
    assert key() == before != first
    put(folder / "shapes" / "2.png", 99)
    assert key() != before
    assert key(limit=1) == first
    put(folder / "shapes" / "2.png", 20)
    assert key() == before
    (folder / "shapes" / "2.png").rename(folder / "shapes" / "3.png")
    assert key() != before
    assert np.isnan(key(folder=None))  # not known yet: always new


def test_only_so_many_images_are_listed(folder: Path) -> None:
    lines = load("\n".join(["shapes"] * 100))["ui"]["text"][0].splitlines()
    assert (len(lines), lines[-1]) == (202, "and 100 more")


def test_too_little_memory_is_our_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(InvalidImage, match="Load fewer with limit"):
        load()


#: What loading may hold beside the images, in MiB.
CEILING = 16

MEASURE = """
import resource, sys
from pathlib import Path
import torch
from batch_sdxl.host import host
from batch_sdxl.nodes.load_image_batch import LoadImageBatch

class Folder(host.Host):
    def input_folders(self):
        return [Path(sys.argv[1])]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

with host.use(Folder()):
    LoadImageBatch().run("many", 64, 64, "crop", 10)
    before = peak()
    key = LoadImageBatch.IS_CHANGED("many", limit=0)
    images, masks, names, count = LoadImageBatch().run("many", 64, 64, "crop", 0)["result"]
    assert images[0].shape == (5000, 64, 64, 3) and len(names) == count == 5000
    print(peak() - before, images[0].nbytes / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux counts")
def test_five_thousand_images_take_their_own_memory_and_little_more(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "many").mkdir()
    for number in range(50):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        for copy in range(100):
            (folder / "many" / f"{copy * 50 + number}.png").hardlink_to(path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    grown, own = map(float, done.stdout.split())
    assert own == pytest.approx(234.375)
    assert grown <= own + CEILING, f"{grown:.0f} MiB for images of {own:.0f} MiB"
