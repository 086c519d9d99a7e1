"""Pictures -> rows: the prompts that they say they were made from, or the captions beside them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from ..errors import InvalidPrompts
from ..images.files import check_pixels
from .alpha_text import alpha_texts
from .comfy_graph import NotSaid
from .foreign_syntax import refuse_tags
from .picture_formats import KNOWN, is_parameters, parameters_fields, picture_fields
from .rows import Row
from .text_files import check_text, tell, text_file

#: Of pictures that are read for what they say.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

#: Of a text beside a picture, as training sets have it.
CAPTIONS = (".txt", ".caption")

#: What becomes of a picture that does not say its prompt.
ON_ERROR = ("stop", "skip")

_WITHOUT_IT = "leave it out, or set on_error to skip (--on-error skip on the command line)."

_EXIF, _USER_COMMENT = 0x8769, 0x9286
#: Make, Model, ImageDescription and so on, of which ComfyUI and others take any.
_EXIF_TEXTS = range(0x0100, 0x0140)
_MARKS = {b"ASCII\0\0\0": "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp", b"\0" * 8: "utf-8"}


def picture_rows(
    pictures: list[Path],
    on_error: str = ON_ERROR[0],
    tell: Callable[[str], None] = tell,
) -> Iterator[Row]:
    """A row of each picture, in the order given.

    Args:
        pictures: files; the caption beside one comes before what it says itself.
        on_error: of `ON_ERROR`.
        tell: takes the pictures that are skipped, and what is left out of others.

    Raises:
        InvalidPrompts: one has no prompt, and none is to be skipped; the message names it.
    """
    for path in pictures:
        try:
            yield _row(path, tell)
        except InvalidPrompts as error:
            if on_error == "stop":
                raise
            tell(f"skipped: {error.got}")


def caption_of(picture: Path) -> Path | None:
    """The caption beside a picture."""
    files = [picture.with_suffix(suffix) for suffix in CAPTIONS]
    return next((file for file in files if file.is_file()), None)


def _row(path: Path, tell: Callable[[str], None]) -> Row:
    if caption := caption_of(path):
        text = "".join(line.text for line in text_file(caption, tell)()).strip()
        # AUTOMATIC1111's web UI writes its settings there, if asked to.
        values = parameters_fields(text) if is_parameters(text) else {"prompt": text}
        return _checked(Row(caption.name, 0, values))
    try:
        values = picture_fields(_texts(path), path.stem, lambda text: tell(f"{path.name}: {text}"))
        if not str(values.get("prompt") or "").strip():
            raise NotSaid("an empty prompt")
    except NotSaid as error:
        raise InvalidPrompts(
            "a picture that says its prompt (of Batch SDXL, AUTOMATIC1111, ComfyUI, SwarmUI, "
            "Fooocus, InvokeAI or NovelAI), or has a caption beside it",
            f"{path.name} with {error}",
            f"Write its prompt into a .txt file of its name beside it, {_WITHOUT_IT}",
        ) from None
    # SyntaxError is Pillow's for broken PNG files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidPrompts(
            "a picture that can be read",
            f"{path.name} ({error})",
            f"Save it again, {_WITHOUT_IT}",
        ) from None
    return _checked(Row(path.name, 0, values))


def _checked(row: Row) -> Row:
    for value in row.values.values():
        if isinstance(value, str):
            check_text(value, row.place())
    for text in (row.prompt(), row.negative_prompt()):
        refuse_tags(text, row.place())
    row.settings()
    return row


def _texts(path: Path) -> dict[str, str]:
    """The texts of a picture, by the names that PNG gives them."""
    if path.suffix.lower() not in SUFFIXES:
        raise NotSaid("no text that is read, of its kind of file")
    with warnings.catch_warnings():
        # Of a picture's size: its pixels are not decoded here. Of bad Exif: it has no text then.
        warnings.simplefilter("ignore")
        with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as image:
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            exif = image.getexif()
            entries = {**exif, **exif.get_ifd(_EXIF)}
            if not (texts.keys() & KNOWN or entries):
                check_pixels(image, path)
                texts |= alpha_texts(image)
    for tag in _EXIF_TEXTS:
        # ComfyUI writes `prompt:{...}` and `workflow:{...}` into any.
        name, found, text = _decoded(entries.get(tag, "")).partition(":")
        if found and name.strip().casefold() in ("prompt", "workflow"):
            texts.setdefault(name.strip().casefold(), text.strip())
    if comment := _decoded(entries.get(_USER_COMMENT, "")).strip("\0 \n"):
        texts.setdefault("parameters", comment)
    return texts


def _decoded(value: object) -> str:
    """A text of Exif: in UTF-16 of either order where it is marked as Unicode."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    if value.startswith(b"UNICODE\0"):
        value = value[8:]
        little = value.startswith(b"\xff\xfe") or value[1::2].count(0) > value[::2].count(0)
        return value.decode("utf-16-le" if little else "utf-16-be", "replace").lstrip("\ufeff")
    encoding = _MARKS.get(value[:8])
    return value[8:].decode(encoding, "replace") if encoding else value.decode("utf-8", "replace")
