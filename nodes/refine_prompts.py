"""RefinePrompts: the rows of chosen images -> better prompts with the same seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..core.prompts.prompt import Prompt
from ..core.prompts.refine import WAYS, of_rows, refine
from ..host.types import PROMPTS, ROWS, BatchNode, Inputs

if TYPE_CHECKING:
    from ..core.request.row import Row


class RefinePrompts(BatchNode):
    """Adds to the prompts of chosen images, and keeps their seeds."""

    DESCRIPTION = (
        "Adds text to the prompts of chosen images. Each keeps its own seed and size, so the next "
        "Batch Generate, with no Seed List, gives the same compositions refined. For image to "
        "image from the chosen pictures, wire the images into Batch Generate too."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["refine", "improve prompt", "append prompt", "edit text"]
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")
    OUTPUT_TOOLTIPS = ("The prompts, for Batch Generate.", "How many they are.")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "rows": (
                    f"{ROWS},{PROMPTS}",
                    {"tooltip": "Of Select Images or Batch Generate; or prompts of Prompt List."},
                ),
                "way": (
                    list(WAYS),
                    {
                        "tooltip": "append and prepend put a comma between; replace takes the "
                        "text alone; template puts each prompt where the text says {prompt}."
                    },
                ),
                "text": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "",
                        "tooltip": "One line for all prompts, or one line for each.",
                    },
                ),
            }
        }

    def run(
        self, rows: list[Row] | tuple[Prompt, ...], way: str, text: str
    ) -> tuple[tuple[Prompt, ...], int]:
        """Refine."""
        # Rows come as a list, the prompts of Prompt List as a tuple.
        prompts = rows if isinstance(rows, tuple) else of_rows(rows)
        refined = refine(prompts, way, text)
        return refined, len(refined)
