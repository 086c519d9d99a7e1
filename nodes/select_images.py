"""SelectImages: a batch -> the images that were picked, and all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.errors import InvalidRequest
from ..core.prompts import Prompt
from ..core.selection import select
from .batches import from_batches, to_batches
from .types import PROMPTS, ROWS, SEEDS, Inputs, Node

if TYPE_CHECKING:
    import torch


class SelectImages(Node):
    """Picks images of a batch, with their prompts, seeds, masks and source images."""

    DESCRIPTION = (
        "Picks images of a batch by seed (`seed 3, 5`), number (`#2, #4..6`) or prompt "
        '(`"castle"`). Rows, prompts, seeds, masks and source images of the picked ones come out '
        "with them, so that nothing falls out of step."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["pick", "choose", "select images", "image from batch"]
    RETURN_TYPES = ("IMAGE", ROWS, PROMPTS, SEEDS, "MASK", "IMAGE", "INT")
    RETURN_NAMES = ("images", "rows", "prompts", "seeds", "masks", "source_images", "count")
    INPUT_IS_LIST = True
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
                "images": ("IMAGE", {"tooltip": "Of Batch Generate."}),
                "rows": (ROWS, {"tooltip": "Of Batch Generate: which image is which."}),
                "pick": (
                    "STRING",
                    {
                        "default": "all",
                        "multiline": True,
                        "tooltip": 'What to pick: `seed 3, 5`, `#2, #4..6`, `"castle"` or `all`. '
                        "The text is saved with the workflow, so a later run picks the same.",
                    },
                ),
            },
            "optional": {
                "masks": ("MASK", {"tooltip": "One for each image."}),
                "source_images": ("IMAGE", {"tooltip": "What each image was made from."}),
            },
        }

    def run(
        self,
        images: list[torch.Tensor],
        rows: list[list[dict[str, Any]]],
        pick: list[str],
        masks: list[torch.Tensor] | None = None,
        source_images: list[torch.Tensor] | None = None,
    ) -> tuple[Any, ...]:
        """Pick."""
        records = [row for part in rows for row in part]
        given = {"images": images, "masks": masks, "source_images": source_images}
        singles = {
            name: from_batches(batches) for name, batches in given.items() if batches is not None
        }
        for name, values in singles.items():
            if len(values) != len(records):
                raise InvalidRequest(
                    f"as many {name} as rows",
                    f"{len(values)} {name} and {len(records)} rows",
                    "Wire both from the same node.",
                )
        places = select(pick[0], records)
        chosen = [records[k] for k in places]

        def picked(name: str) -> Sequence[torch.Tensor]:
            return to_batches(singles[name][k] for k in places) if name in singles else []

        return (
            picked("images"),
            chosen,
            tuple(Prompt(row["prompt"], row["negative_prompt"]) for row in chosen),
            tuple(row["seed"] for row in chosen),
            picked("masks"),
            picked("source_images"),
            len(chosen),
        )
