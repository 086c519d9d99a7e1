"""Prompt sources -> prompts."""

from __future__ import annotations

from typing import NamedTuple

from .errors import InvalidPrompts


class Prompt(NamedTuple):
    """What an image should show, and what it should not."""

    prompt: str
    negative_prompt: str = ""


def parse_prompts(text: str, negative_prompt: str = "") -> tuple[Prompt, ...]:
    """A prompt for each line; empty lines and lines that start with `#` are left out.

    Args:
        text: lines of any platform's ending, each stripped of blanks around it.
        negative_prompt: shared by all of them.

    Raises:
        InvalidPrompts: no line holds a prompt.
    """
    lines = (line.strip() for line in text.splitlines())
    prompts = tuple(
        Prompt(line, negative_prompt.strip()) for line in lines if line and not line.startswith("#")
    )
    if not prompts:
        raise InvalidPrompts(
            "at least one prompt",
            "only empty lines and comments" if text.strip() else "an empty text",
            "Write one prompt a line.",
        )
    return prompts
