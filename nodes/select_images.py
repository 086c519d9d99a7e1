"""SelectImages: a batch -> the images that were picked, and all that belongs to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest
from ..core.prompts.prompt import Prompt
from ..core.request.selection import nothing_picked, select
from ..host import host
from ..host.batches import from_batches, rows_of, to_batches, told_inputs
from ..host.gallery import batch_key
from ..host.types import PROMPTS, ROWS, SEEDS, BatchNode, Inputs

if TYPE_CHECKING:
    import torch

    from ..core.request.row import Row

#: What the browser knows the gallery by, in `ui` and in the properties of the node.
GALLERY = "batch_sdxl_gallery"

_log = logging.getLogger("batch_sdxl.select_images")


class SelectImages(BatchNode):
    """Picks images of a batch, with their prompts, seeds, masks and source images."""

    DESCRIPTION = (
        "Picks images of a batch by clicks, seed (`seed 3, 5`), number (`#2, #4..6`) or prompt "
        '(`"castle"`). Rows, prompts, seeds, masks and source images of the picked ones come out '
        "with them, so that nothing falls out of step. With nothing picked a run shows what there "
        "is, and leaves out what comes after: click the images to keep, then run again."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["pick", "choose", "select images", "image from batch"]
    RETURN_TYPES = ("IMAGE", ROWS, PROMPTS, SEEDS, "MASK", "IMAGE", "INT")
    RETURN_NAMES = ("images", "rows", "prompts", "seeds", "masks", "source_images", "count")
    INPUT_IS_LIST = True
    OUTPUT_NODE = True  # so that it shows its images before anything is wired to it
    OUTPUT_IS_LIST = (True, False, False, False, True, True, False)
    OUTPUT_TOOLTIPS = (
        "The picked images, in the order picked.",
        "Their rows, for Save Image Batch.",
        "Their prompts, for Refine Prompts or Batch Generate.",
        "Their seeds, for Batch Generate: combine zip makes the same images again.",
        "Their masks, if masks are wired in.",
        "Their source images, if those are wired in.",
        "How many they are.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "images": (
                    "IMAGE",
                    {"tooltip": "Of Batch Generate, or of any other node."},
                ),
            },
            "optional": {
                "rows": (ROWS, {"tooltip": "Of Batch Generate: which image is which."}),
                "pick": (
                    "STRING",
                    {
                        "default": "all",
                        "multiline": True,
                        "placeholder": "Nothing picked. Click images, or write #2, #4..6 or "
                        'seed 3, 5 or "castle" or all',
                        "tooltip": 'What to pick: `seed 3, 5`, `#2, #4..6`, `"castle"` or `all`. '
                        "The text is saved with the workflow, so a later run picks the same.",
                    },
                ),
                "masks": ("MASK", {"tooltip": "One for each image."}),
                "source_images": ("IMAGE", {"tooltip": "What each image was made from."}),
                "clicked_in": (
                    "STRING",
                    {
                        "default": "",
                        "hidden": True,
                        "socketless": True,
                        "tooltip": "Written by clicks: the batch that they were made in. In "
                        "another batch the choice is to be made anew. Empty: in any.",
                    },
                ),
                **told_inputs(),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    def run(
        self,
        images: list[torch.Tensor],
        rows: list[list[Row]] | None = None,
        pick: Sequence[str] = ("all",),
        masks: list[torch.Tensor] | None = None,
        source_images: list[torch.Tensor] | None = None,
        clicked_in: Sequence[str] = ("",),
        prompts: list[Any] | None = None,
        seeds: list[Any] | None = None,
        names: list[str] | None = None,
        unique_id: list[str] | None = None,
    ) -> tuple[Any, ...] | dict[str, Any]:
        """Pick."""
        given = {"images": images, "masks": masks, "source_images": source_images}
        singles = {
            name: from_batches(batches) for name, batches in given.items() if batches is not None
        }
        told = {"prompts": prompts, "seeds": seeds, "names": names}
        records = rows_of(rows, singles, told)
        gallery = _gallery(singles["images"], records)
        try:
            places = self._places(pick[0], clicked_in[0], records)
        except InvalidRequest:
            # Now of all times a person must see what there is to pick.
            if gallery is not None and unique_id is not None:
                host.current().show(unique_id[0], _ui(gallery, [], records))
            raise
        chosen = [records[k] for k in places]

        def picked(name: str) -> Sequence[torch.Tensor]:
            return to_batches(singles[name][k] for k in places) if name in singles else []

        result = (
            picked("images"),
            chosen,
            tuple(Prompt(row.request.prompt, row.request.negative_prompt) for row in chosen),
            tuple(row.request.seed for row in chosen if row.request.seed is not None),
            picked("masks"),
            picked("source_images"),
            len(chosen),
        )
        if not places:
            result = (host.current().blocked(),) * len(result)
        if gallery is None:
            return result
        return {"ui": _ui(gallery, places, records), "result": result}

    def _places(self, pick: str, clicked_in: str, records: Sequence[Row]) -> list[int]:
        """Places of the picked ones; none where a person is to choose first, and then can go on."""
        can_wait = host.current().blocked() is not None
        if can_wait and clicked_in not in ("", batch_key(records)):
            return []
        places = select(pick, records)
        if not places and not can_wait:
            raise nothing_picked(records)
        return places


def _gallery(images: Sequence[torch.Tensor], records: Sequence[Row]) -> str | None:
    """The gallery's name, None where nobody would see one."""
    folders = host.current().galleries()
    try:
        return None if folders is None else folders.write(images, records)
    except OSError as error:
        _log.warning("Select Images shows no gallery: %s", error)  # what was picked matters more
        return None


def _ui(gallery: str, places: Sequence[int], records: Sequence[Row]) -> dict[str, list[str]]:
    """What the node shows: its gallery, what was picked of it, counted from 0, and which batch."""
    shown = {"list": gallery, "picked": list(places), "batch": batch_key(records)}
    return {GALLERY: [json.dumps(shown)]}
