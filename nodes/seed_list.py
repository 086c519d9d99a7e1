"""SeedList: an expression -> seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..core.errors import BatchSDXLError
from ..core.seeds import count_seeds, draws_seeds, fix_seeds, parse_seeds
from ..core.wording import abridged
from ..host.types import SEEDS, BatchNode, Inputs


class SeedList(BatchNode):
    """Makes a list of seeds, one an image."""

    DESCRIPTION = (
        "A list of seeds, one an image. Write `7`, `1, 5, 9`, `100..115`, `100..+16`, "
        "`0..100 step 10`, `7 * 4` or `random(8, from=7)`; several of these go in one list. "
        "`-1` draws a new seed in every run, and the pictures' files say which."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["seeds", "seed list", "seed range", "random seeds"]
    RETURN_TYPES = (SEEDS, "INT", "INT")
    RETURN_NAMES = ("seeds", "count", "numbers")
    OUTPUT_IS_LIST = (False, False, True)
    OUTPUT_TOOLTIPS = (
        "The seeds, for Batch Generate.",
        "How many they are.",
        "The seeds as a list, for nodes of other packs: those run once for each.",
    )

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
                        "seeds that are always the same, `-1` one that is new in every run, "
                        "`-1 * 4` four of these. # starts a comment.",
                    },
                ),
            },
            "hidden": {
                "prompt": "PROMPT",
                "extra_pnginfo": "EXTRA_PNGINFO",
                "unique_id": "UNIQUE_ID",
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, seeds: str | None) -> bool | BatchSDXLError:
        """Refuse what cannot be read before anything runs."""
        try:
            if seeds is not None:
                count_seeds(seeds)
        except BatchSDXLError as error:
            return error
        return True

    @classmethod
    def IS_CHANGED(cls, seeds: str | None = None, **hidden: Any) -> float | str:
        """NaN, which is never the same as before, for an expression with -1 in it."""
        return float("nan") if seeds is not None and draws_seeds(seeds) else ""

    def run(
        self,
        seeds: str,
        prompt: Mapping[str, Any] | None = None,
        extra_pnginfo: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
    ) -> dict[str, Any]:
        """Read the expression, and write what was drawn into the graph that files will hold."""
        fixed = fix_seeds(seeds)
        if fixed != seeds:
            _record(seeds, fixed, str(unique_id), prompt, extra_pnginfo)
        numbers = parse_seeds(fixed)
        text = "\n".join(abridged(numbers, str))
        return {"ui": {"text": [text]}, "result": (numbers, len(numbers), list(numbers))}


def _record(
    written: str,
    fixed: str,
    node_id: str,
    prompt: Mapping[str, Any] | None,
    extra_pnginfo: Mapping[str, Any] | None,
) -> None:
    """Put the drawn seeds in place of -1 in this run's graph.

    The graph is this run's own copy: the editor keeps its -1, while a graph opened from a picture
    makes that picture again.
    """
    inputs = ((prompt or {}).get(node_id) or {}).get("inputs")
    if isinstance(inputs, dict) and inputs.get("seeds") == written:
        inputs["seeds"] = fixed
    workflow = (extra_pnginfo or {}).get("workflow") or {}
    for node in workflow.get("nodes") or []:
        values = node.get("widgets_values")
        if str(node.get("id")) == node_id and isinstance(values, list) and values[:1] == [written]:
            values[0] = fixed
