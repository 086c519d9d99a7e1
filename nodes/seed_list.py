"""SeedList: an expression -> seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..core.errors import BatchSDXLError
from ..core.seeds import count_seeds, draws_seeds, fix_seeds, next_seeds, parse_seeds
from ..core.wording import abridged
from ..host import host
from ..host.types import SEEDS, BatchNode, Inputs

#: The largest number that randomize may come to.
MAX_BATCH = 2**32 - 1

#: What the browser knows the drawn seeds by, in `ui`: as an expression of batch 0.
DRAWN = "batch_sdxl_drawn"


class SeedList(BatchNode):
    """Makes a list of seeds, one an image."""

    DESCRIPTION = (
        "A list of seeds, one an image. Write `7`, `1, 5, 9`, `100..115`, `100..+16`, "
        "`0..100 step 10`, `7 * 4` or `random(8, from=7)`; several of these go in one list. "
        "`-1` draws a seed, which stays until you ask for another batch, and the pictures' files "
        "say which it was."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "seeds",
        "seed",
        "seed list",
        "seed range",
        "random seeds",
    ]
    RETURN_TYPES = (SEEDS, "INT", "INT")
    RETURN_NAMES = ("seeds", "count", "numbers")
    INPUT_IS_LIST = True
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
                        "seeds that are always the same, `-1` one that is drawn, "
                        "`-1 * 4` four of these. # starts a comment.",
                    },
                ),
            },
            "optional": {
                "batch": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": MAX_BATCH,
                        "control_after_generate": "fixed",
                        "tooltip": "Which batch: 0 has the seeds as written, 1 the next ones "
                        "(after `1..4` come `5..8`), and so on; `-1` is drawn anew for each. "
                        "What happens to it after a run: fixed keeps the seeds, so that what you "
                        "choose is what you saw; increment goes on to the next batch.",
                    },
                ),
                "numbers": (
                    "INT",
                    {
                        "forceInput": True,
                        "tooltip": "Seeds of a seed or number node, one or a list, in place of the "
                        "text.",
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
    def VALIDATE_INPUTS(cls, seeds: Sequence[str | None]) -> bool | BatchSDXLError:
        """Refuse what cannot be read before anything runs."""
        try:
            for text in seeds:
                if text is not None:
                    count_seeds(text)
        except BatchSDXLError as error:
            return error
        return True

    @classmethod
    def IS_CHANGED(cls, seeds: Sequence[str | None] = (), **others: Any) -> float | str:
        """NaN, which is never the same as before, for an expression with -1 in it.

        What it stands for stays; but it has to be written into the graph of each run.
        """
        return float("nan") if any(text and draws_seeds(text) for text in seeds) else ""

    def run(
        self,
        seeds: list[str],
        batch: Sequence[int] = (0,),
        numbers: Sequence[int] | None = None,
        prompt: Sequence[Mapping[str, Any]] = ({},),
        extra_pnginfo: Sequence[Mapping[str, Any] | None] = (None,),
        unique_id: Sequence[str] = ("",),
    ) -> dict[str, Any]:
        """Read the expression, and write what was drawn into the graph that files will hold."""
        written = "\n".join(seeds) if numbers is None else ", ".join(map(str, numbers))
        node_id = str(unique_id[0])
        origin = host.current().draw_origin()
        fixed = fix_seeds(written, origin and f"{origin} {node_id} {batch[0]}")
        if fixed != written:
            _record(written, fixed, node_id, prompt[0], extra_pnginfo[0])
        found = next_seeds(parse_seeds(fixed), batch[0])
        drawn = fixed if not batch[0] else ", ".join(map(str, found))
        ui = {"text": ["\n".join(abridged(found, str))], DRAWN: [drawn] * (fixed != written)}
        return {"ui": ui, "result": (found, len(found), list(found))}


def _record(
    written: str,
    fixed: str,
    node_id: str,
    prompt: Mapping[str, Any],
    extra_pnginfo: Mapping[str, Any] | None,
) -> None:
    """Put the drawn seeds in place of -1 in this run's graph.

    The graph is this run's own copy: the editor keeps its -1, while a graph opened from a picture
    makes that picture again.
    """
    inputs = (prompt.get(node_id) or {}).get("inputs")
    if isinstance(inputs, dict) and inputs.get("seeds") == written:
        inputs["seeds"] = fixed
    workflow = (extra_pnginfo or {}).get("workflow") or {}
    for node in workflow.get("nodes") or []:
        values = node.get("widgets_values")
        if str(node.get("id")) == node_id and isinstance(values, list) and values[:1] == [written]:
            values[0] = fixed
