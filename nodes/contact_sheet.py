"""ContactSheet: images and rows -> one labelled image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest
from ..host.batches import from_batches, rows_of, told_inputs
from ..host.types import ROWS, BatchNode, Inputs

if TYPE_CHECKING:
    import torch

    from ..core.request.row import Row

LAYOUTS = ("prompts x seeds", "in order")


class ContactSheet(BatchNode):
    """Puts all images on one sheet, labelled with prompts and seeds."""

    DESCRIPTION = (
        "All images on one sheet: prompts down and seeds across, or in order with prompt and seed "
        "below each."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["grid", "xy plot", "contact sheet", "image grid"]
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    INPUT_IS_LIST = True
    OUTPUT_TOOLTIPS = ("The sheet, for Save Image or Preview Image.",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "Of Batch Generate, or of any other node."}),
            },
            "optional": {
                "rows": (ROWS, {"tooltip": "Of Batch Generate: which image is which."}),
                "layout": (
                    list(LAYOUTS),
                    {
                        "tooltip": "prompts x seeds: a row for each prompt, a column for each "
                        "seed, grey where there is no image; in order where most would be grey. "
                        "in order: as they come."
                    },
                ),
                "cell_size": (
                    "INT",
                    {
                        "default": 256,
                        "min": 64,
                        "max": 2048,
                        "step": 8,
                        "tooltip": "Most width and height of an image on the sheet, in pixels; "
                        "larger ones are shrunk. Smaller where the sheet would pass 64 megapixels.",
                    },
                ),
                "columns": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 1000,
                        "tooltip": "Images side by side in order; 0 makes the sheet about square.",
                    },
                ),
                **told_inputs(),
            },
        }

    def run(
        self,
        images: list[torch.Tensor],
        rows: list[list[Row]] | None = None,
        layout: Sequence[str] = LAYOUTS[:1],
        cell_size: Sequence[int] = (256,),
        columns: Sequence[int] = (0,),
        prompts: list[Any] | None = None,
        seeds: list[Any] | None = None,
        names: list[str] | None = None,
    ) -> tuple[torch.Tensor]:
        """Draw it."""
        import torch

        from ..core.images.source import to_uint8
        from ..core.saving.contact_sheet import by_prompt_and_seed, draw, in_order

        pictures = from_batches(images)
        told = {"prompts": prompts, "seeds": seeds, "names": names}
        records = rows_of(rows, {"images": pictures}, told)
        if not records:
            raise InvalidRequest("at least one image", "none", "Wire in those of Batch Generate.")
        if layout[0] == LAYOUTS[0]:
            sheet = by_prompt_and_seed(records)
        else:
            sheet = in_order(records, columns[0])
        pixels = [to_uint8(picture) for picture in pictures]
        page = torch.from_numpy(draw(pixels, sheet, cell_size[0])).float() / 255
        return (page.unsqueeze(0),)
