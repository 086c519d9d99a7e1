"""SaveImageBatch: images and rows -> files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import BatchSDXLError
from ..core.request.image_request import ImageRequest
from ..core.request.record import KEY, MadeWith, Record
from ..core.request.row import Row
from ..core.saving.file_names import FIELDS, FileName, NameTemplate, Source
from ..core.saving.planned_files import Place
from ..core.saving.writer import FORMATS, Format, find_format
from ..host import host
from ..host.batches import from_batches, rows_of, told_inputs
from ..host.display import MANY
from ..host.paths import place_output, ui_entry
from ..host.roots import without_home
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


class Saving:
    """Images of a batch on their way to files."""

    def __init__(
        self,
        places: Sequence[Place],
        form: Format,
        graph: Mapping[str, Any],
        quality: int,
        page: bool,
        node_id: str,
    ) -> None:
        """Decide on names, and refuse what would go wrong at the end.

        Args:
            places: where each image goes.
            form: kind of the files.
            graph: for `file_texts`.
            quality: of lossy formats, 1 to 100.
            page: whether a page is wanted.
            node_id: that the person is told things on.
        """
        from ..core.saving.batch_writer import BatchWriter
        from ..core.saving.gallery_page import check_page
        from ..core.saving.image_file import file_texts

        says = host.current().saves_metadata()
        self._writer = BatchWriter(
            places,
            form,
            lambda record: file_texts(record, graph) if says else {},
            quality=quality,
            completes=host.current().completes_files(),
        )
        self._rows = [one.record for one in places]
        self._form = form
        self._paged = list(dict.fromkeys(one.folder for one in places)) if page and says else []
        self._no_page = page and not says
        self._node_id = node_id
        for folder in self._paged:
            check_page(folder)

    @property
    def files(self) -> list[Path]:
        """Those that are there by now, in the order of the images."""
        return [file for _, file in sorted(self._writer.files.items())]

    def finished(self) -> set[int]:
        """Indices of images, as they are made, that need not come: their files are there."""
        return self._writer.finished()

    def take(self, index: int, picture: torch.Tensor, row: Row | None = None) -> None:
        """Write one image.

        Args:
            index: of its row.
            picture: (H, W, C) float32; what is not in 0..1 is saved as black or white.
            row: what it was made from, if not as planned: numerics may be others.
        """
        self._rows[index] = row or self._rows[index]
        self._writer.write(index, _rounded(picture, self._form), self._rows[index])

    def end(self) -> dict[str, Any]:
        """Write the page, say what is left out, and hand out what was written."""
        pages = self._write_pages()
        files = self.files
        _tell(self._writer.left_out, len(files), self._no_page, pages, self._node_id)
        rows = [self._rows[index] for index in sorted(self._writer.files)]
        ui = {
            "images": [ui_entry(file) for file in files],
            KEY: [row.to_json() for row in rows if isinstance(row, Record)],
        }
        return {"ui": ui, "result": ([str(file) for file in files],)}

    def stop(self) -> None:
        """Write the page of what is there."""
        with suppress(BatchSDXLError):  # what ends the run is told, and matters more
            self._write_pages()

    def _write_pages(self) -> list[Path]:
        from ..core.saving.gallery_page import write_page

        # Not where nothing was written.
        return [write_page(folder) for folder in self._paged if folder.is_dir()]


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


def _rounded(picture: torch.Tensor, form: Format) -> Any:
    from ..core.images.source import to_uint8
    from ..core.saving.png16 import to_uint16

    picture = picture.clamp(0, 1)
    return to_uint16(picture) if form.bits == 16 else to_uint8(picture)


def _tell(
    left_out: Counter[str], total: int, no_page: bool, pages: Sequence[Path], node_id: str
) -> None:
    """Say what is not in the files, and why, and where pages are."""
    notes = [
        f"{number} of {total} files are without {name}: a JPEG has room for 64 KB of text. "
        "Save as png, webp or avif to keep it."
        for name, number in left_out.items()
    ]
    if no_page:
        notes.append("No index.html: ComfyUI runs with --disable-metadata.")
    notes += [f"A page of all: {page}" for page in pages]
    if notes:
        host.current().tell("\n".join(notes), node_id)
