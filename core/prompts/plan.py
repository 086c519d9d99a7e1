"""Lists of prompts, seeds and images -> requests.

What is given as a list of its own wins over what a prompt's row says, and that wins over the
settings shared by all: seeds that are wired in replace those of the rows, a row's own width
replaces the node's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import InvalidRequest
from ..images.source import SourceImage
from ..request.combine import combine
from ..request.image_request import ImageRequest
from ..wording import counted
from .prompt import Prompt


class Planned(NamedTuple):
    """A request, and the identity of the image that it refines; empty for none."""

    request: ImageRequest
    origin: str


def plan(
    mode: str,
    prompts: Sequence[Prompt],
    seeds: Sequence[int] | None,
    images: Sequence[SourceImage] | None,
    variation_seeds: Sequence[int] | None,
    settings: Mapping[str, Any],
    read_image: Callable[[str], SourceImage],
) -> list[Planned]:
    """One request for each combination, in the lists' order, the seeds running fastest.

    Args:
        mode: of `combine`.
        prompts: each with the settings of its row.
        seeds: None takes the ones that the rows have.
        images: to start from; None takes the ones that rows name.
        variation_seeds: None for none.
        settings: fields of `ImageRequest` for rows that do not say, width and height among them.
        read_image: the image of a name that a row has.

    Raises:
        InvalidRequest: the lists do not combine, a row has no seed, or a value is out of range.
        InvalidImage: an image that a row names cannot be read.
    """
    lists: dict[str, Sequence[Any]] = {"prompts": prompts}
    # Seeds come last, so that in a product the images of one prompt are neighbours.
    others = {"images": images, "seeds": seeds, "variation_seeds": variation_seeds}
    lists |= {name: values for name, values in others.items() if values is not None}
    planned = []
    for row in combine(mode, **lists):
        given = dict(zip(lists, row, strict=True))
        prompt: Prompt = given["prompts"]
        fields: dict[str, Any] = {**settings, **prompt.settings}
        if seeds is not None:
            fields["seed"] = given["seeds"]
        if images is not None:
            # An image brings its own size.
            fields |= {"image": given["images"]} | {s: settings[s] for s in ("width", "height")}
        elif "image" in prompt.settings:
            fields["image"] = read_image(str(prompt.settings["image"]))
        if variation_seeds is not None:
            fields["variation_seed"] = given["variation_seeds"]
            fields["variation_strength"] = settings["variation_strength"]
        if "seed" not in fields:
            raise InvalidRequest(
                "a list of seeds, or a seed in the row of each prompt",
                f"neither for {prompt.prompt[:60]!r}",
                "Wire a Seed List (--seeds on the command line), or add a column called seed.",
            )
        if fields.get("image") is None:
            fields.pop("strength", None)  # of the images that start from one
        drawn = prompt.resolved(fields["seed"])
        fields |= {"prompt": drawn.prompt, "negative_prompt": drawn.negative_prompt}
        planned.append(Planned(ImageRequest(**fields), drawn.origin))
    return planned


def summary(mode: str, count: int, **lists: Sequence[Any] | None) -> str:
    """How many images there will be, and of what: `8 images: 4 prompts x 2 seeds`.

    What rows say and lists of their own replace is told: nothing of a file is lost without a word.
    """
    sign = " x " if mode == "product" else ", "
    parts = [counted(len(values), name) for name, values in lists.items() if values is not None]
    said = [f"{counted(count, 'images')}: {sign.join(parts)} ({mode})"]
    for name, (field, by) in _REPLACED.items():
        rows = sum(field in prompt.settings for prompt in lists.get("prompts") or ())
        if rows and lists.get(name) is not None:
            said.append(f"{by} the {name.replace('_', ' ')} of {counted(rows, 'rows')}")
    return "; ".join(said)


#: List -> the field of rows that gives way to it, and how that is said.
_REPLACED = {
    "seeds": ("seed", "the Seed List replaces"),
    "images": ("image", "the images that are wired in replace"),
    "variation_seeds": ("variation_seed", "the Seed List replaces"),
}
