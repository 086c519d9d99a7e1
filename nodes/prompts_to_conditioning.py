"""PromptsToConditioning: prompts -> CONDITIONING with a prompt of its own for each image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.combinations import COMBINATIONS, combine
from ..core.errors import InvalidPrompts, UnsupportedModel
from ..core.prompts.prompt import Prompt
from ..core.text.stack import TOKENS_PER_CHUNK, stack_embeddings
from ..core.wording import counted
from ..host import host
from ..host.types import PROMPTS, SEEDS, BatchNode, Inputs

if TYPE_CHECKING:
    import torch

#: ComfyUI's: entries [embeddings (B, T, D), what goes with them].
Conditioning = list[list[Any]]

#: Columns of a prompt's row that this node has a use for.
_USED = {"seed"}


class PromptsToConditioning(BatchNode):
    """Encodes each prompt, and stacks them to one conditioning with a row for each image."""

    DESCRIPTION = (
        "Encodes prompts with a CLIP of your own to one CONDITIONING in which each image of the "
        "batch has its own prompt. Goes on into CFG Guider or KSampler, with the latent from here: "
        "of one image it would make the first prompt alone. With Seeds to Noise each image has its "
        "own seed too. Prompts of different lengths are repeated, never padded, so "
        "that an image does not depend on the other prompts."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "clip text encode batch",
        "batch prompt conditioning",
        "prompts to conditioning",
        "conditioning batch",
    ]
    RETURN_TYPES = ("CONDITIONING", "CONDITIONING", SEEDS, "INT", PROMPTS, "LATENT")
    RETURN_NAMES = ("positive", "negative", "seeds", "count", "prompts", "latent")
    OUTPUT_TOOLTIPS = (
        "The prompts, one row an image.",
        "Their negative prompts, one row an image.",
        "The seed of each row, for Seeds to Noise: it makes as many images as there are rows.",
        "How many rows, and with them images, there are.",
        "The prompt of each row, its choices drawn, for Save Image Batch and the like.",
        "Empty, with as many images as there are rows. A latent of one image would make the first "
        "row alone.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        size = {"default": 1024, "min": 8, "max": 16384, "step": 8}
        more = {"default": 0, "min": 0, "max": 16384, "advanced": True}
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "Of an SDXL checkpoint."}),
                "prompts": (PROMPTS, {"tooltip": "Of Prompt List."}),
                "width": (
                    "INT",
                    {**size, "tooltip": "Pixels of the images, as SDXL is told with the text."},
                ),
                "height": ("INT", {**size, "tooltip": "Pixels, as width."}),
            },
            "optional": {
                "seeds": (
                    SEEDS,
                    {
                        "tooltip": "Of Seed List. Combined with the prompts here, so that both "
                        "have the same number. Wildcards in prompts are drawn by them."
                    },
                ),
                "combine": (
                    list(COMBINATIONS),
                    {
                        "tooltip": "zip: first prompt with first seed and so on, a list of one "
                        "serves for all. product: each with each. cycle: the shorter repeats."
                    },
                ),
                "crop_w": ("INT", {**more, "tooltip": "Pixels cut off at the left, told to SDXL."}),
                "crop_h": ("INT", {**more, "tooltip": "Pixels cut off at the top, told to SDXL."}),
                "target_width": (
                    "INT",
                    {**more, "step": 8, "tooltip": "Pixels to aim at. 0: the same as width."},
                ),
                "target_height": (
                    "INT",
                    {**more, "step": 8, "tooltip": "Pixels to aim at. 0: the same as height."},
                ),
            },
        }

    def run(
        self,
        clip: Any,
        prompts: tuple[Prompt, ...],
        width: int,
        height: int,
        seeds: tuple[int, ...] | None = None,
        combine: str = "zip",
        crop_w: int = 0,
        crop_h: int = 0,
        target_width: int = 0,
        target_height: int = 0,
    ) -> tuple[Any, ...]:
        """Encode them."""
        import torch

        if clip is None:
            raise UnsupportedModel(
                "a CLIP",
                "none",
                "The checkpoint has no text encoders: load them with Dual CLIP Loader.",
            )
        rows, row_seeds = _rows(prompts, seeds, combine)
        size = {
            "width": width,
            "height": height,
            "crop_w": crop_w,
            "crop_h": crop_h,
            "target_width": target_width or width,
            "target_height": target_height or height,
        }
        encoded = _encode(clip, [text for row in rows for text in row[:2]], size)
        positive = _stack([encoded[row.prompt] for row in rows])
        negative = _stack([encoded[row.negative_prompt] for row in rows])
        latent = {"samples": torch.zeros(len(rows), 4, height // 8, width // 8)}
        return positive, negative, row_seeds, len(rows), tuple(rows), latent


def _rows(
    prompts: Sequence[Prompt], seeds: Sequence[int] | None, mode: str
) -> tuple[list[Prompt], tuple[int, ...]]:
    """The prompt of each image, its choices drawn, and the seeds; no seeds where none are given.

    Raises:
        InvalidPrompts: a prompt says what a stock graph can't have of each image.
        InvalidRequest: the lists do not combine.
    """
    for prompt in prompts:
        if unused := set(prompt.settings) - _USED:
            raise InvalidPrompts(
                "rows with a prompt, a negative prompt and a seed",
                f"{', '.join(sorted(unused))} in the row of {prompt.prompt[:60]!r}",
                "In ComfyUI's own samplers all images of a batch share it: take the column out, "
                "or use Batch Generate.",
            )
    pairs: Sequence[tuple[Any, ...]]
    own: list[Any] = [prompt.settings["seed"] for prompt in prompts if "seed" in prompt.settings]
    if seeds is not None:
        pairs = combine(mode, prompts=prompts, seeds=seeds)
    elif len(own) == len(prompts):
        pairs = list(zip(prompts, own, strict=True))
    elif own:
        raise InvalidPrompts(
            "a seed in the row of each prompt, or in none",
            f"{counted(len(own), 'seeds')} for {counted(len(prompts), 'prompts')}",
            "Fill the column, or wire a Seed List.",
        )
    elif drawn := [prompt.prompt for prompt in prompts if prompt.wildcards is not None]:
        raise InvalidPrompts(
            "seeds to draw the wildcards of prompts by",
            f"none for {drawn[0][:60]!r}",
            "Wire a Seed List.",
        )
    else:
        return list(prompts), ()
    return [prompt.resolved(seed) for prompt, seed in pairs], tuple(seed for _, seed in pairs)


def _encode(clip: Any, texts: Iterable[str], size: dict[str, int]) -> dict[str, Conditioning]:
    """The conditioning of each distinct text, encoded alone."""
    distinct = list(dict.fromkeys(texts))
    display = host.current().progress(len(distinct), 0)
    encoded = {}
    for number, text in enumerate(distinct, 1):
        entries = clip.encode_from_tokens_scheduled(clip.tokenize(text), add_dict=dict(size))
        for embedding, more in entries:
            _check(embedding, more)
        encoded[text] = entries
        display.update(number, 0)
        host.current().check_cancelled()
    return encoded


def _check(embedding: torch.Tensor, more: dict[str, Any]) -> None:
    """Check that it is of an SDXL CLIP, in which repeating is known to be neutral."""
    pooled = more.get("pooled_output")
    others = [name for name, value in more.items() if hasattr(value, "shape")]
    if (
        embedding.shape[1] % TOKENS_PER_CHUNK
        or (embedding.shape[2], None if pooled is None else pooled.shape[1]) != (2048, 1280)
        or others != ["pooled_output"]
    ):
        raise UnsupportedModel(
            "a CLIP of an SDXL model, which gives embeddings 2048 wide and a pooled one of 1280",
            f"{embedding.shape[2]} and {'none' if pooled is None else pooled.shape[1]}, "
            f"with {', '.join(others) or 'nothing'}, for {embedding.shape[1]} tokens",
            "Load an SDXL checkpoint, or its two text encoders with Dual CLIP Loader (type sdxl).",
        )


def _stack(rows: Sequence[Conditioning]) -> Conditioning:
    """Entry k of the result holds entry k of every row.

    A CLIP with a schedule gives several entries, one for each part of the steps; their ranges are
    the CLIP's own, so they agree among texts.
    """
    import torch

    stacked = []
    for entries in zip(*rows, strict=True):
        pooled = torch.cat([more["pooled_output"] for _, more in entries])
        embeddings = stack_embeddings([embedding for embedding, _ in entries])
        stacked.append([embeddings, {**entries[0][1], "pooled_output": pooled}])
    return stacked
