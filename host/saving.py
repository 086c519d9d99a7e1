"""A batch of Save Image Batch: its files, its page, what the person is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import BatchSDXLError
from ..core.request.record import KEY, Record
from ..core.request.row import Row
from ..core.saving.planned_files import Place
from ..core.saving.writer import Format
from . import host
from .paths import ui_entry

if TYPE_CHECKING:
    import torch


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
