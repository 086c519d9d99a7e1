"""Images of any sizes <-> ComfyUI's batches, which hold images of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.errors import InvalidImage, InvalidRequest
from ..core.prompts.prompt import Prompt
from ..core.request.named import Named
from ..core.request.row import Row, Told, ToldRow
from ..core.wording import counted
from .types import PROMPTS, SEEDS

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def to_batches(images: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Stack neighbours of one size: one batch where all agree, else several, in the same order.

    Args:
        images: each (H, W, C) or (H, W).
    """
    import torch

    return [torch.stack(list(group)) for _, group in groupby(images, key=lambda i: i.shape)]


def from_batches(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The images of all batches, in order, as fp32 (ComfyUI can keep them in fp16)."""
    return [image.float() for batch in batches for image in batch]


def named(
    what: str, one: str, values: Sequence[T], names: Sequence[str] | None
) -> list[tuple[str, T]]:
    """Each value with its name.

    Args:
        what: the values are called, in messages.
        one: what each is called, with its number, where there are no names.
        values: any.
        names: one for each, or None.

    Raises:
        InvalidImage: there are more or fewer names.
    """
    names = names or [f"{one} {number}" for number in range(1, len(values) + 1)]
    if len(names) != len(values):
        raise InvalidImage(
            f"as many names as {what}",
            f"{counted(len(names), 'names')} and {counted(len(values), what)}",
            f"Wire both from the same node, or only the {what}.",
        )
    return [*zip(names, values, strict=True)]


def rows_of(
    rows: Sequence[Sequence[Row]] | None,
    images: Mapping[str, Sequence[torch.Tensor]],
    told: Mapping[str, Sequence[Any] | None] | None = None,
) -> list[Row]:
    """The rows of all parts, in order: one for each image.

    Args:
        rows: parts, as a node that takes lists is given them; None where none are wired.
        images: the images that belong to the rows, by the name of their input, the main ones first.
        told: in place of rows, what is wired into those of `told_inputs`: one an image, or one for
            all; None for what is not wired.

    Raises:
        InvalidRequest: there are not as many images as rows, or as what is told.
    """
    given = {name: values for name, values in (told or {}).items() if values is not None}
    if rows is None:
        records: list[Row] = _told_rows(next(iter(images.values())), given)
    elif given:
        raise InvalidRequest(
            "rows, or else what to tell of images without rows",
            f"both rows and {' and '.join(given)}",
            "Take one of them out: rows tell prompts and seeds by themselves.",
        )
    else:
        records = [row for part in rows for row in part]
    for name, values in images.items():
        if len(values) != len(records):
            raise InvalidRequest(
                f"as many {name} as rows, which say which image is which",
                f"{counted(len(values), name)} and {counted(len(records), 'rows')}",
                "Wire both from the same node.",
            )
    return records


def told_inputs() -> dict[str, Any]:
    """The inputs that tell of images without rows, of a node that takes lists."""
    return {
        "prompts": (
            f"{PROMPTS},STRING",
            {"tooltip": "Without rows: the prompt of each image, or one for all."},
        ),
        "seeds": (
            f"{SEEDS},INT",
            {"tooltip": "Without rows: the seed of each image, or one for all."},
        ),
        "names": (
            "STRING",
            {"forceInput": True, "tooltip": "Without rows: a name of each image."},
        ),
    }


def _told_rows(images: Sequence[torch.Tensor], told: Mapping[str, Sequence[Any]]) -> list[Row]:
    count = len(images)
    prompts = _each("prompts", [_prompt(one) for one in _flat(told, "prompts")], count)
    seeds = _each("seeds", list(_flat(told, "seeds")), count)
    names = _each("names", list(_flat(told, "names")), count)
    return [
        ToldRow(
            Told(
                width=image.shape[1],
                height=image.shape[0],
                prompt=prompt.prompt if prompt else "",
                negative_prompt=prompt.negative_prompt if prompt else "",
                seed=prompt.settings.get("seed") if seed is None and prompt else seed,
                picture=None if name is None else Named(name, ""),
            )
        )
        for image, prompt, seed, name in zip(images, prompts, seeds, names, strict=True)
    ]


def _flat(told: Mapping[str, Sequence[Any]], name: str) -> Iterator[Any]:
    """The values of an input, to which lists of ours come as tuples."""
    for one in told.get(name, ()):
        # A prompt is a tuple itself.
        yield from one if isinstance(one, tuple) and not isinstance(one, Prompt) else (one,)


def _prompt(value: Prompt | str) -> Prompt:
    return value if isinstance(value, Prompt) else Prompt(value)


def _each(name: str, values: list[Any], count: int) -> list[Any]:
    """One value an image; Nones where there is none."""
    if len(values) not in (0, 1, count):
        raise InvalidRequest(
            f"as many {name} as images, or one for all",
            f"{counted(len(values), name)} and {counted(count, 'images')}",
            "Even them out, or wire rows.",
        )
    return values if len(values) == count else (values or [None]) * count
