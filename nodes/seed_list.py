"""SeedList: an expression -> seeds."""

from __future__ import annotations

from typing import ClassVar

from ..core.errors import BatchSDXLError
from ..core.seeds import parse_seeds
from .types import SEEDS, Inputs, Node


class SeedList(Node):
    """Makes a list of seeds, one an image."""

    DESCRIPTION = (
        "A list of seeds, one an image. Write `7`, `1, 5, 9`, `100..115`, `100..+16`, "
        "`0..100 step 10`, `7 * 4` or `random(8, from=7)`; several of these go in one list."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["seeds", "seed list", "seed range", "random seeds"]
    RETURN_TYPES = (SEEDS, "INT")
    RETURN_NAMES = ("seeds", "count")
    OUTPUT_TOOLTIPS = ("The seeds, for Batch Generate.", "How many they are.")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                # Text, since browsers round whole numbers above 2**53.
                "seeds": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "1..4",
                        "tooltip": "Seeds from 0 to 18446744073709551615. `1, 5, 9` is a list, "
                        "`100..115` a range, `100..+16` sixteen from 100 on, `0..100 step 10` "
                        "every tenth, `7 * 4` seed 7 four times, `random(8, from=7)` eight "
                        "seeds that are always the same. # starts a comment.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, seeds: str | None) -> bool | BatchSDXLError:
        """Refuse what cannot be read before anything runs."""
        try:
            if seeds is not None:
                parse_seeds(seeds)
        except BatchSDXLError as error:
            return error
        return True

    def run(self, seeds: str) -> tuple[tuple[int, ...], int]:
        """Read the expression."""
        numbers = parse_seeds(seeds)
        return numbers, len(numbers)
