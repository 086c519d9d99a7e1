"""Texts in image files, by name.

PNG has text chunks. JPEG, WebP and AVIF have EXIF, whose first directory holds a text `name:value`
each: ComfyUI's `prompt` in Model and `workflow` in Make, where its editor looks for them, any other
in the tags that TIFF leaves to private use. `parameters` is EXIF's UserComment, as AUTOMATIC1111's
web UI writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

#: Bytes of EXIF that fit into a JPEG, its head of six included.
JPEG_LIMIT = 65533

_COMMENT = "parameters"
_TAGS = {"prompt": ExifTags.Base.Model.value, "workflow": ExifTags.Base.Make.value}
#: First of the tags that TIFF 6.0 leaves to private use.
_PRIVATE = 65000

#: What a UserComment starts with -> its encoding. Big-endian because the directories are.
_ENCODINGS = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}


def png_info(texts: Mapping[str, str]) -> PngInfo:
    """The texts as Pillow writes them into a PNG."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return info


def exif(texts: Mapping[str, str]) -> bytes:
    """The texts as EXIF; nothing for none.

    Args:
        texts: `parameters` in any letters, the others in ASCII, as JSON can be written.
    """
    if not texts:
        return b""
    directory = Image.Exif()
    private = count(_PRIVATE)
    for name, text in texts.items():
        if name == _COMMENT:
            comment = b"UNICODE\0" + text.encode("utf-16-be")
            directory.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
        else:
            tag = _TAGS.get(name)
            directory[next(private) if tag is None else tag] = f"{name}:{text}"
    return directory.tobytes()


def fitting_exif(texts: Mapping[str, str], limit: int) -> tuple[bytes, tuple[str, ...]]:
    """As many of the texts as EXIF of limited size can hold, and the names of the others.

    Args:
        texts: the more important ones first.
        limit: most bytes.
    """
    kept: dict[str, str] = {}
    left_out = []
    for name, text in texts.items():
        if len(exif(kept | {name: text})) <= limit:
            kept[name] = text
        else:
            left_out.append(name)
    return exif(kept), tuple(left_out)


def texts_in(image: Image.Image) -> dict[str, str]:
    """The texts of an image as Pillow opened it, by name.

    Raises:
        Exception: of any kind, where its EXIF is damaged.
    """
    if image.format == "PNG":
        return {str(name): text for name, text in image.info.items() if isinstance(text, str)}
    directory = image.getexif()
    entries = (value.partition(":") for value in directory.values() if isinstance(value, str))
    texts = {name: text for name, found, text in entries if found}
    comment = directory.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if isinstance(comment, bytes) and comment:
        encoding = _ENCODINGS.get(comment[:8])
        text = comment[8:] if encoding else comment
        texts[_COMMENT] = text.decode(encoding or "utf-8", "replace").rstrip("\0")
    return texts
