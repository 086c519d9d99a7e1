"""What prompts of other programs say in signs that are plain words here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import InvalidPrompts

_TAG = re.compile(r"<(lora|lyco|lycoris|locon|hypernet):([^<>\n]{1,300})>", re.IGNORECASE)
_INNER = r"[^\[\]{}]"
_PLAIN = (
    ("prompt editing", re.compile(rf"\[{_INNER}*:\s*\d*\.?\d+\s*\]")),
    ("alternation", re.compile(rf"\[{_INNER}*\|{_INNER}*\]")),
    ("a second prompt", re.compile(r"(?<=\s)AND(?=\s)")),
    ("a tag", re.compile(r"<\w+(?:\[[^<>\]\n]*\])?:[^<>\n]*>")),
    ("a weight", re.compile(r"-?\d*\.?\d+::[^:\n]+::|\w\)?(?:\+\+|--)(?=[\s,]|$)")),
    ("a blend", re.compile(r"\)\.(?:and|blend|swap)\(")),
    ("an option", re.compile(r"(?<=\s)--[A-Za-z]\w*")),
)


def refuse_tags(text: str, where: str) -> None:
    """Refuse a text with `<lora:name:0.8>` and the like: a text encoder would read it as words.

    Raises:
        InvalidPrompts: it has one; the message says what to do instead.
    """
    if "<" in text and (tag := _TAG.search(text)):
        raise InvalidPrompts(
            "a prompt of words",
            f"{tag[0]} at {where}",
            "Take it out, and apply the LoRA to all images with Apply LoRA, or --lora."
            if tag[1].lower() != "hypernet"
            else "Take it out: there are no hypernetworks for SDXL.",
        )


def plain_here(text: str) -> Iterator[tuple[str, str]]:
    """What would be more than text in other programs: its name there, and the signs.

    AUTOMATIC1111's web UI, SwarmUI, InvokeAI, NovelAI and Midjourney.

    Brackets around plain words are not; nor is AND in a text of capitals.
    """
    for name, pattern in _PLAIN:
        if (found := pattern.search(text)) and (name != "a second prompt" or text != text.upper()):
            yield name, found[0]
