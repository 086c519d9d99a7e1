"""Image files: found in folders, put in order, opened with care."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from PIL import ExifTags, Image

from ..errors import BatchSDXLError, InvalidImage

#: Endings of the files that a folder is searched for.
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".jxl"),
)

#: Pixels of the largest image that is opened. A limit of our own: others in the same process may
#: have turned off Pillow's, and a file of some kilobytes can claim any size.
MAX_PIXELS = 178_956_970

#: Formats that are tried. Not all that Pillow has: some run programs (EPS) or take any bytes (TGA).
_FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "JXL"),
    *("JPEG2000", "PPM", "ICO"),
)

#: How a file starts, of formats that need a plugin -> format, package, what to call to register it.
_PLUGINS = (
    (rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", "HEIF", "pillow-heif", "pillow_heif"),
    (rb"....ftypavi[fs]", "AVIF", "pillow-avif-plugin", "pillow_avif"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "JXL", "pillow-jxl-plugin", "pillow_jxl"),
)

_QUARTER_TURNS = (5, 6, 7, 8)


def natural(path: Path) -> tuple[tuple[tuple[tuple[bool, int, str], ...], str], ...]:
    """Key for sorting, folder by folder: digits compare as numbers and come before letters."""
    return tuple((_chunks(part), part) for part in path.parts)


def _chunks(part: str) -> tuple[tuple[bool, int, str], ...]:
    parts = re.findall(r"\d+|\D+", part.casefold())
    return tuple((False, int(p), "") if p.isdecimal() else (True, 0, p) for p in parts)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a broken link: opening it will say so
        return 0


#: Orders of files. Those by time fall back on the natural one.
ORDERS: dict[str, Callable[[list[Path]], list[Path]]] = {
    "natural": lambda files: sorted(files, key=natural),
    "alphabetical": lambda files: sorted(files, key=lambda path: path.parts),
    "oldest first": lambda files: sorted(sorted(files, key=natural), key=_modified),
    "newest first": lambda files: sorted(sorted(files, key=natural), key=lambda p: -_modified(p)),
}


def is_image_name(path: Path) -> bool:
    """Whether a file of a folder counts as an image: by its ending, and not hidden by a dot."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def list_images(folder: Path, order: str = "natural", subfolders: bool = False) -> list[Path]:
    """The image files of a folder.

    Args:
        folder: to look in.
        order: a key of `ORDERS`.
        subfolders: whether to look in these too; those that are links are left out.

    Raises:
        InvalidImage: there is no such folder, it cannot be read, or it holds no image.
    """
    if not folder.is_dir():
        raise InvalidImage("a folder of images", f"{folder}", "Check the name of the folder.")
    try:
        # Not by what is_file() says: a broken link is named when it is opened, not left out.
        files = [path for path in _walk(folder, subfolders) if is_image_name(path)]
    except OSError as error:
        raise InvalidImage(
            "a folder that can be read", f"{folder} ({error})", "Check its permissions."
        ) from error
    if not files:
        raise InvalidImage(
            f"images in {folder}", "none", f"Put files there that end in {', '.join(SUFFIXES)}."
        )
    return ORDERS[order](files)


def _walk(folder: Path, subfolders: bool) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                yield Path(entry.path)
            elif subfolders and not entry.is_symlink() and not entry.name.startswith("."):
                yield from _walk(Path(entry.path), subfolders)


def frame_sizes(path: Path, frames: str = "first") -> list[tuple[int, int]]:
    """(width, height) in pixels, upright, of the frames of a file; reads little more than its head.

    Args:
        path: an image file.
        frames: `first`, or `all` of an animation or of a file of several pages.

    Raises:
        InvalidImage: it cannot be read.
    """
    with open_image(path) as image:
        count = frame_count(image) if frames == "all" else 1
        if image.format != "TIFF":
            return [_upright_size(image)] * count
        sizes = []
        for frame in range(count):
            image.seek(frame)
            sizes.append(image.size)  # Pillow has turned it already
        return sizes


def frame_count(image: Image.Image) -> int:
    """How many frames `all` means."""
    # The second picture of an MPO is a preview, or another exposure.
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turned = image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
    return (height, width) if turned else (width, height)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it. Errors within the block are taken as the file's.

    Raises:
        InvalidImage: it is missing, empty, no image, damaged or too large.
    """
    with readable(path):
        if path.exists() and not path.is_file():
            raise InvalidImage("an image file", f"{path}, which is none", "Name a file.")
        with Image.open(path, formats=_formats()) as image:
            check_pixels(image, path)
            yield image


def check_pixels(image: Image.Image, path: Path) -> None:
    """Refuse a frame without pixels, or with too many.

    Raises:
        InvalidImage: it is one.
    """
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidImage(
            f"an image of 1 to {MAX_PIXELS} pixels",
            f"{path} of {width} x {height}",
            "Scale it down, or take it away.",
        )


@contextmanager
def readable(path: Path | None, name: str = "") -> Iterator[None]:
    """Turn whatever goes wrong within the block into an error that names the file.

    Args:
        path: the file, None for an image that has none.
        name: what to call it then.

    Raises:
        InvalidImage: anything went wrong.
    """
    try:
        yield
    except BatchSDXLError:
        raise
    except FileNotFoundError:
        raise InvalidImage(
            "an image file", f"{path or name}, which does not exist", "Check the name."
        ) from None
    # Of any kind: what decoders raise on damaged files is documented nowhere, and is at times a
    # ValueError, a SyntaxError, a struct.error, an IndexError, an EOFError, a MemoryError.
    except Exception as error:
        why, action = _reason(path, error)
        raise InvalidImage(
            "an image that can be read", f"{path or name} ({why})", action
        ) from error


def _reason(path: Path | None, error: Exception) -> tuple[str, str]:
    """What is wrong with a file, and what to do about it."""
    again = "Save it again as PNG or JPEG, or take it away."
    head = b""
    if path is not None:
        with suppress(OSError), path.open("rb") as file:
            head = file.read(512)
            if not head:
                return "an empty file", again
    for start, name, package, _ in _PLUGINS:
        if re.match(start, head, re.DOTALL) and name not in _formats():
            return f"{name} needs a plugin", f"Run `pip install {package}` and start again."
    with suppress(UnicodeDecodeError):
        if head and "\0" not in head.decode("ascii"):
            return "it holds text", again
    return str(error).replace("\n", " ") or type(error).__name__, again


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that can be read here, with the plugins that are installed."""
    Image.init()
    for _, name, _, module in _PLUGINS:
        with suppress(ImportError):
            if name not in Image.OPEN:
                plugin = import_module(module)
                getattr(plugin, "register_heif_opener", lambda: None)()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
