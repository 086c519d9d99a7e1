"""Lists of prompts, seeds and images -> requests.

What is given as a list of its own wins over what a prompt's row says, and that wins over the
settings shared by all: seeds that are wired in replace those of the rows, a row's own width
replaces the node's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..combinations import combine
from ..errors import InvalidRequest
from ..images.source import SourceImage
from ..request.image_request import ImageRequest
from ..request.latents import SourceLatents
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
    latents: Sequence[SourceLatents] | None = None,
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
        latents: to start from in place of images.

    Raises:
        InvalidRequest: there are both images and latents, the lists do not combine, a row has no
            seed, or a value is out of range.
        InvalidImage: an image that a row names cannot be read.
    """
    if images is not None and latents is not None:
        raise both_starts()
    lists: dict[str, Sequence[Any]] = {"prompts": prompts}
    # Seeds come last, so that in a product the images of one prompt are neighbours.
    others = {"images": images, "latents": latents, "seeds": seeds}
    others["variation_seeds"] = variation_seeds
    lists |= {name: values for name, values in others.items() if values is not None}
    planned = []
    for row in combine(mode, **lists):
        given = dict(zip(lists, row, strict=True))
        prompt: Prompt = given["prompts"]
        fields: dict[str, Any] = {**settings, **prompt.settings}
        if seeds is not None:
            fields["seed"] = given["seeds"]
        if images is not None or latents is not None:
            # They bring their own size.
            fields |= {s: settings[s] for s in ("width", "height")}
            fields |= {"image": given.get("images"), "latents": given.get("latents")}
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
        if _starts_from_noise(**fields):
            fields.pop("strength", None)  # of the images that start from one
        drawn = prompt.resolved(fields["seed"])
        fields |= {"prompt": drawn.prompt, "negative_prompt": drawn.negative_prompt}
        planned.append(Planned(ImageRequest(**fields), drawn.origin))
    return planned


def both_starts() -> InvalidRequest:
    """What refuses two things to start from."""
    return InvalidRequest(
        "images or latents to start from",
        "both",
        "Take one of them out: latents are what the VAE makes of images.",
    )


def _starts_from_noise(
    image: SourceImage | None = None, latents: SourceLatents | None = None, **_others: Any
) -> bool:
    return image is None and (latents is None or latents.is_empty)


def summary(mode: str, planned: Sequence[Planned], **lists: Sequence[Any] | None) -> str:
    """How many images there will be, and of what: `8 images: 4 prompts x 2 seeds`.

    What rows say and something else replaces, or makes useless, is told too, and what of the
    settings for all rows replace: nothing that was given is lost without a word.
    """
    sign = " x " if mode == "product" else ", "
    parts = [counted(len(values), name) for name, values in lists.items() if values is not None]
    said = [f"{counted(len(planned), 'images')}: {sign.join(parts)} ({mode})"]
    prompts: Sequence[Prompt] = lists.get("prompts") or ()
    for name, fields, words in _REPLACED:
        rows = sum(not prompt.settings.keys().isdisjoint(fields) for prompt in prompts)
        if rows and lists.get(name) is not None:
            said.append(f"{words} of {counted(rows, 'rows')}")
    for word, own in _OWN.items():
        rows = sum(not prompt.settings.keys().isdisjoint(own) for prompt in prompts)
        replaced = word == "size" and (lists.get("images") or lists.get("latents"))
        if rows and not replaced:
            said.append(f"{counted(rows, 'rows')} with {word} of their own")
    unguided = sum(bool(r.negative_prompt) and not r.is_guided for r, _ in planned)
    if unguided:
        said.append(f"cfg up to 1 leaves out the negative prompt of {counted(unguided, 'images')}")
    lone = sum("strength" in prompt.settings for prompt in prompts)
    if lone and all(request.picture is None for request, _ in planned):
        said.append(f"without images nothing uses the strength of {counted(lone, 'rows')}")
    return "; ".join(said)


#: A list, the fields of rows that give way to it, and how that is said.
_REPLACED = (
    ("seeds", ("seed",), "the seeds given replace those"),
    ("images", ("image",), "the images given replace those"),
    ("images", ("width", "height"), "the images given replace the sizes"),
    ("latents", ("image",), "the latents given replace the images"),
    ("latents", ("width", "height"), "the latents given replace the sizes"),
    (
        "variation_seeds",
        ("variation_seed", "variation_strength"),
        "the variation seeds given replace those",
    ),
)

#: What rows may say that is also set for all images, and then gives way to them.
_OWN: dict[str, tuple[str, ...]] = {
    "size": ("width", "height"),
    "steps": ("num_inference_steps",),
    "cfg": ("guidance_scale",),
}
