"""SaveImageBatch: images and rows -> files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import BatchSDXLError
from ..core.request.image_request import ImageRequest
from ..core.request.record import MadeWith, Record
from ..core.request.row import Row
from ..core.saving.file_names import FIELDS, FileName, NameTemplate, Source
from ..core.saving.planned_files import Place
from ..core.saving.writer import FORMATS, find_format
from ..host import host
from ..host.batches import from_batches, rows_of, told_inputs
from ..host.display import MANY
from ..host.paths import place_output
from ..host.roots import without_home
from ..host.saving import Saving
from ..host.types import ROWS, BatchNode, Inputs

if TYPE_CHECKING:
    import torch

#: Names of files where no other are asked for.
USUAL_NAMES = "{prefix}_{number:05}_seed{seed}"


class SaveImageBatch(BatchNode):
    """Saves each image with what it was made from."""

    DESCRIPTION = (
        "Saves each image, as PNG unless another format is chosen. The file says what made it: its "
        "own prompt, seed and settings, and the graph, so that dropping it on ComfyUI opens the "
        "graph again. No file is ever replaced."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        *(
            "save",
            "save images",
            "save batch",
            "export",
            "png",
            "jpeg",
            "jpg",
            "webp",
            "avif",
            "16 bit",
            "gallery",
        )
    ]
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("files",)
    INPUT_IS_LIST = True
    TAKES = "begin"
    EXPECTS = "expect"
    OUTPUT_IS_LIST = (True,)
    OUTPUT_NODE = True
    OUTPUT_TOOLTIPS = ("Paths of the files.",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "images": (
                    "IMAGE",
                    {
                        "tooltip": "Of Batch Generate, or of any other node. Beyond 0..1 they are "
                        "saved black or white."
                    },
                ),
            },
            "optional": {
                "rows": (ROWS, {"tooltip": "Of Batch Generate: what each file says of its image."}),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": "batch",
                        "tooltip": "Start of the names, below the output folder; may name "
                        "subfolders. A number and the seed follow. No file is replaced.",
                    },
                ),
                "file_name": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "Names of your own, such as {source}_{index:04}_{seed} or "
                        "{date}/{prompt:30}_{seed}. A / makes subfolders. To fill in: "
                        f"{', '.join(FIELDS)}. index counts this batch from 1, i from 0, number "
                        "goes on from the files that are there, source is the input image (else "
                        f"the prefix). Empty: {USUAL_NAMES}.",
                    },
                ),
                "format": (
                    list(FORMATS),
                    {
                        "default": "png",
                        "tooltip": "PNG and lossless WebP keep every pixel. 16 bit holds what "
                        "rounding to 8 bits would lose, if the images still have it. ComfyUI opens "
                        "the graph of PNG, WebP and AVIF, not of JPEG.",
                    },
                ),
                "quality": (
                    "INT",
                    {
                        "default": 90,
                        "min": 1,
                        "max": 100,
                        "tooltip": "Of JPEG, WebP and AVIF: from 1, small, to 100, fine.",
                    },
                ),
                "page": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Write index.html beside the images: a page to look at them, "
                        "to find them by seed and prompt, and to copy their recipes. Later runs "
                        "add to it.",
                    },
                ),
                **told_inputs(),
            },
            "hidden": {
                "prompt": "PROMPT",
                "extra_pnginfo": "EXTRA_PNGINFO",
                "unique_id": "UNIQUE_ID",
            },
        }

    @classmethod
    def VALIDATE_INPUTS(
        cls,
        file_name: Sequence[str | None] = (None,),
        format: Sequence[str | None] = (None,),
        filename_prefix: Sequence[str | None] = (None,),
    ) -> bool | BatchSDXLError:
        """Refuse names and formats that cannot be before anything runs."""
        try:
            # Names of one's own may leave the prefix out.
            if filename_prefix[0] is not None and not file_name[0]:
                place_output(filename_prefix[0])
            if file_name[0] is not None:
                NameTemplate(file_name[0] or USUAL_NAMES)
            if format[0] is not None:
                find_format(format[0])
        except BatchSDXLError as error:
            return error
        return True

    def run(
        self,
        images: list[torch.Tensor],
        rows: list[list[Row]] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Write the files."""
        pictures = from_batches(images)
        saving = self.begin(rows, images=pictures, **settings)
        for index, picture in enumerate(pictures):
            saving.take(index, picture)
        return saving.end()

    def begin(
        self,
        rows: list[list[Row]] | None = None,
        filename_prefix: Sequence[str] = ("batch",),
        file_name: Sequence[str] = ("",),
        format: Sequence[str] = ("png",),
        quality: Sequence[int] = (90,),
        page: Sequence[bool] = (False,),
        prompts: list[Any] | None = None,
        seeds: list[Any] | None = None,
        names: list[str] | None = None,
        images: Sequence[torch.Tensor] | None = None,
        prompt: list[Any] | None = None,
        extra_pnginfo: list[Any] | None = None,
        unique_id: list[str] | None = None,
    ) -> Saving:
        """The saving of a batch, to which images come one by one; `run` is the whole of it.

        Without rows, it needs the images to know how many they are.
        """
        told = {"prompts": prompts, "seeds": seeds, "names": names}
        records = rows_of(rows, {} if images is None else {"images": images}, told)
        graph = {"prompt": (prompt or [None])[0], **((extra_pnginfo or [None])[0] or {})}
        graph = {name: without_home(one) for name, one in graph.items() if one is not None}
        form = find_format(format[0])
        called = _names(file_name[0] or _usual_names(records), filename_prefix[0], records)
        folders = _folders(called)
        places = [
            Place(folders[name.folder], name, form.suffix, record)
            for name, record in zip(called, records, strict=True)
        ]
        return Saving(places, form, graph, quality[0], page[0], (unique_id or [""])[0])

    def expect(
        self,
        requests: Sequence[ImageRequest],
        size: int,
        filename_prefix: Sequence[str] = ("batch",),
        file_name: Sequence[str] = ("",),
        format: Sequence[str] = ("png",),
        **_others: Any,
    ) -> None:
        """Refuse what could not be saved, and tell what many images take, before they are made.

        Args:
            requests: of the images.
            size: pixels across and down where a request does not say.
            filename_prefix: as `begin`.
            file_name: likewise.
            format: likewise.
            **_others: inputs that make no difference.
        """
        from ..core.saving.room import check_folder, check_room

        # What only a model tells is left open; of thousands, the first stand for all.
        some = [replace(_OPEN, request=request.sized(size)) for request in requests[:100]]
        folders = _folders(_names(file_name[0] or USUAL_NAMES, filename_prefix[0], some))
        for folder in set(folders.values()):
            check_folder(folder)
        output = host.current().output_folder()
        sizes = (request.size(size) for request in requests)
        needs = check_room(output, sizes, lossy=find_format(format[0]).lossy)
        if len(requests) > MANY:
            host.current().tell(
                f"{len(requests):,} images are to come: their files take {needs.in_words()} in "
                f"{output}. How long it takes is told after the first of them.",
                "",
            )


#: Stands in for a record where there is no model yet.
_OPEN = Record(
    request=ImageRequest(prompt="", seed=0).sized(8),
    model=MadeWith(name="model", digest="", files_digest=""),
    numerics={},
    identity="0" * 64,
)


def _usual_names(rows: Iterable[Row]) -> str:
    """Without the seed where it is not known."""
    known = all(row.request.seed is not None for row in rows)
    return USUAL_NAMES if known else USUAL_NAMES.partition("_seed")[0]


def _names(template: str, prefix: str, records: Iterable[Row]) -> list[FileName]:
    names = NameTemplate(template)
    if names.uses("prefix"):
        place_output(prefix)  # it must be a place by itself
    now = datetime.now()
    return [
        names.fill(Source(record, index, prefix, now)) for index, record in enumerate(records, 1)
    ]


def _folders(names: Iterable[FileName]) -> dict[str, Path]:
    """Where the folders of some names are."""
    folders: dict[str, Path] = {}
    for name in names:
        if name.folder not in folders:
            folders[name.folder] = place_output(name.path)[0]
    return folders
