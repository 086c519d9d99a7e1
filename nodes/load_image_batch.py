"""LoadImageBatch: files -> images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import BatchSDXLError, InvalidImage
from ..core.images.batch import BATCH_FITS, FRAMES, ON_ERROR, ImageFile, LoadOptions, load_images
from ..core.images.files import ORDERS, is_image_name, list_images
from ..host import host
from ..host.paths import check_below, find_input, find_matches, input_roots
from ..host.types import BatchNode, Inputs

if TYPE_CHECKING:
    import torch

MAX_SIDE = 16384
MAX_FILES = 100_000

#: Images that the node's own list names one by one.
MAX_LISTED = 200


class LoadImageBatch(BatchNode):
    """Loads image files."""

    DESCRIPTION = (
        "Loads the images of a folder in natural order (1, 2, 10), or those of a pattern such as "
        "`cats/*.png`, or of a list, one a line: upright, in sRGB, as RGB. They are looked up in "
        "ComfyUI's input folder; `input_images` comes with the pack. Neighbours of one size come "
        "out as one batch, so different sizes give several; Batch Generate takes them all and "
        "keeps the order."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "load images",
        "load images from folder",
        "image folder",
        "directory",
        "glob",
        "img2img batch",
    ]
    RETURN_TYPES = ("IMAGE", "MASK", "STRING", "INT")
    RETURN_NAMES = ("images", "masks", "names", "count")
    OUTPUT_IS_LIST = (True, True, True, False)
    OUTPUT_TOOLTIPS = (
        "The images.",
        "Where an image is transparent; all zero for a file without alpha.",
        "Names of the files, one an image.",
        "How many images they are.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        size = {"default": 0, "min": 0, "max": MAX_SIDE, "step": 8}
        count = {"default": 0, "min": 0, "max": MAX_FILES}
        return {
            "required": {
                "folder": (
                    "STRING",
                    {
                        "default": "input_images",
                        "multiline": True,
                        "tooltip": "A folder, a file or a pattern (`*`, `?`, `**` for folders of "
                        "any depth) below ComfyUI's input folder (headless: below the workflow's "
                        "or the working folder); or several, one a line, loaded in that order. "
                        "Lines that start with # are left out.",
                    },
                ),
                "width": ("INT", {**size, "tooltip": "Pixels; 0 keeps each image's own size."}),
                "height": ("INT", {**size, "tooltip": "Pixels; 0 keeps each image's own size."}),
                "fit": (
                    list(BATCH_FITS),
                    {
                        "tooltip": "How to bring an image to width and height: crop cuts off what "
                        "is over, pad adds black edges, stretch changes its shape. bucket cuts "
                        "each to the SDXL size nearest in shape, 1024 x 1024 pixels in area, or "
                        "width x height if these are set."
                    },
                ),
                "limit": ("INT", {**count, "tooltip": "Load so many files; 0 loads all."}),
            },
            "optional": {
                "start": ("INT", {**count, "tooltip": "Leave out so many of the first files."}),
                "order": (
                    list(ORDERS),
                    {
                        "tooltip": "Of the files of a folder or pattern: natural puts 2 before 10, "
                        "alphabetical 10 before 2; oldest and newest go by when a file was changed."
                    },
                ),
                "subfolders": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Also load what lies in folders of the folder, of any depth. "
                        "Folders that are links or start with a dot are left out.",
                    },
                ),
                "frames": (
                    list(FRAMES),
                    {
                        "tooltip": "Of an animation or a file of several pages: its first, or all; "
                        "these are named `name#1`, `name#2` and so on."
                    },
                ),
                "on_error": (
                    list(ON_ERROR),
                    {
                        "tooltip": "A file that cannot be read: stop, skip it, or put a black "
                        "image that is all mask in its place. It is named in each case."
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(
        cls,
        folder: str | None,
        width: int | None,
        height: int | None,
        start: int | None = 0,
        subfolders: bool | None = False,
    ) -> bool | BatchSDXLError:
        """Refuse missing files, or half a size, before anything runs."""
        try:
            if folder is not None and start is not None and subfolders is not None:
                _chosen(folder, "natural", subfolders, start, 0)
            if width is not None and height is not None:
                _size(width, height)
        except BatchSDXLError as error:
            return error
        return True

    @classmethod
    def IS_CHANGED(
        cls,
        folder: str | None,
        limit: int | None = 0,
        start: int | None = 0,
        order: str | None = "natural",
        subfolders: bool | None = False,
        **other: Any,
    ) -> str | float:
        """SHA-256 over the names and the bytes of the files; NaN, always new, if not known yet."""
        if folder is None or limit is None or start is None or order is None or subfolders is None:
            return float("nan")
        digest = hashlib.sha256()
        for file in _chosen(folder, order, subfolders, start, limit):
            digest.update(f"{file.name}\0".encode("utf-8", "surrogateescape"))
            digest.update(_digest(file.path))
        return digest.hexdigest()

    def run(
        self,
        folder: str,
        width: int,
        height: int,
        fit: str,
        limit: int,
        start: int = 0,
        order: str = "natural",
        subfolders: bool = False,
        frames: str = "first",
        on_error: str = "stop",
    ) -> dict[str, Any]:
        """Read the files."""
        import torch

        options = LoadOptions(_size(width, height), fit, frames, on_error)
        files = _chosen(folder, order, subfolders, start, limit)
        loaded = load_images(files, options, host.current().check_cancelled)
        # The tensors are the arrays: no pixel is copied.
        images: list[torch.Tensor] = [torch.from_numpy(batch) for batch in loaded.images]
        masks: list[torch.Tensor] = [torch.from_numpy(batch) for batch in loaded.masks]
        lines = [loaded.summary(), *loaded.problems, *loaded.notes[:MAX_LISTED]]
        if len(loaded.notes) > MAX_LISTED:
            lines.append(f"and {len(loaded.notes) - MAX_LISTED} more")
        return {
            "ui": {"text": ["\n".join(lines)]},
            "result": (images, masks, loaded.names, len(loaded.names)),
        }


def _chosen(folder: str, order: str, subfolders: bool, start: int, limit: int) -> list[ImageFile]:
    """The files to load, by what the inputs say."""
    lines = [line.strip() for line in folder.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    files = [file for line in lines for file in _found(line, order, subfolders)]
    if not files:
        raise InvalidImage("a folder of images", "none", "Name one, or some files, one a line.")
    if not 0 <= start < len(files):
        raise InvalidImage(
            f"a start of 0 to {len(files) - 1}, for {len(files)} files",
            str(start),
            "Leave out fewer.",
        )
    return files[start : start + limit if limit else None]


def _found(line: str, order: str, subfolders: bool) -> list[ImageFile]:
    """The files that a line names: a folder's, called as in there, or others, as below the root."""
    roots = input_roots()
    try:
        path = find_input(line, roots)
    except InvalidImage:
        if not set(line) & set("*?["):
            raise
        root, matches = find_matches(line, roots)
        matches = [match for match in matches if is_image_name(match)]
        if not matches:
            raise InvalidImage(
                f"images that match {line}", "other files only", "Correct the pattern."
            ) from None
        return [ImageFile(p, p.relative_to(root).as_posix()) for p in ORDERS[order](matches)]
    if path.is_dir():
        files = list_images(path, order, subfolders)
        check_below(files, roots)
        return [ImageFile(file, file.relative_to(path).as_posix()) for file in files]
    name = next(path.relative_to(root) for root in roots if path.is_relative_to(root))
    return [ImageFile(path, name.as_posix())]


def _digest(path: Path) -> bytes:
    """SHA-256 of a file; of the reason if it cannot be read: a run will say it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return hashlib.sha256(str(error).encode()).digest()


def _size(width: int, height: int) -> tuple[int, int] | None:
    if (width == 0) != (height == 0) or min(width, height) < 0 or max(width, height) > MAX_SIDE:
        raise InvalidImage(
            "width and height both 0 (each image's own size) or both set, "
            f"to {MAX_SIDE} at the most",
            f"{width} x {height}",
            "Set the other one too.",
        )
    return (width, height) if width else None
