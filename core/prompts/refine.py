"""A chosen image's prompt, said better: the same seed, so that the composition stays."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidPrompts
from ..request.fields import to_plain
from ..request.row import Row, ToldRow
from ..wording import counted
from .prompt import Prompt, Settings
from .rows import Setting

#: How the text goes together with a prompt.
WAYS = ("append", "prepend", "replace", "template")

_SLOT = "{prompt}"

#: Fields that a person sets anew: the next node's, or those of the images that are wired into it.
_ANEW = (
    *("prompt", "negative_prompt", "image", "latents", "strength"),
    *("num_inference_steps", "guidance_scale", "scheduler"),
)


def refine(prompts: Sequence[Prompt], way: str, text: str) -> tuple[Prompt, ...]:
    """Prompts with a text added or put in their place; negatives and settings stay.

    Args:
        prompts: with the seeds of their rows.
        way: `append` and `prepend` put a comma between; `replace` takes the text alone;
            `template` takes the text with each prompt where it says `{prompt}`.
        text: one line for all prompts, or as many lines as there are prompts, one for each.

    Raises:
        InvalidPrompts: there is no prompt, the lines are neither one nor as many, or a template
            has no `{prompt}`.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts or len(lines) not in (1, len(prompts)):
        raise InvalidPrompts(
            "prompts, and one line of text for all of them or one for each",
            f"{counted(len(prompts), 'prompts')} and {counted(len(lines), 'lines')}",
            "Write one line, or as many as there are prompts.",
        )
    if way == "template" and not all(_SLOT in line for line in lines):
        raise InvalidPrompts(
            f"a template that says where each prompt goes, with {_SLOT}",
            repr(text),
            f"Write for example: {_SLOT}, at night.",
        )
    texts = lines * len(prompts) if len(lines) == 1 else lines
    return tuple(
        prompt._replace(prompt=_join(prompt.prompt, way, line))
        for prompt, line in zip(prompts, texts, strict=True)
    )


def _join(prompt: str, way: str, text: str) -> str:
    if way == "template":
        return text.replace(_SLOT, prompt)
    parts = {"append": (prompt, text), "prepend": (text, prompt), "replace": (text,)}[way]
    return ", ".join(part.strip(" ,") for part in parts if part.strip(" ,"))


def of_rows(records: Sequence[Row]) -> tuple[Prompt, ...]:
    """The prompts of images, with what makes the composition: seed, size, variation, conditioning.

    Steps, guidance and scheduler are left to the next node, where a person sets them.
    """
    return tuple(
        Prompt(
            record.request.prompt,
            record.request.negative_prompt,
            Settings(_composition(record)),
            origin=record.identity,
        )
        for record in records
    )


def _composition(row: Row) -> dict[str, Setting]:
    if isinstance(row, ToldRow):
        return {} if row.request.seed is None else {"seed": row.request.seed}
    return {k: v for k, v in to_plain(row.request).items() if k not in _ANEW}
