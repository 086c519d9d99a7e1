"""PromptList: text -> prompts."""

from __future__ import annotations

from typing import ClassVar

from ..core.errors import BatchSDXLError
from ..core.prompts import Prompt, parse_prompts
from .types import PROMPTS, Inputs, Node


class PromptList(Node):
    """Makes a list of prompts, one a line."""

    DESCRIPTION = "A list of prompts, one a line. Lines that start with # are left out."
    SEARCH_ALIASES: ClassVar[list[str]] = ["prompts", "prompt list", "text list", "batch prompt"]
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")
    OUTPUT_TOOLTIPS = ("The prompts, for Batch Generate.", "How many they are.")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "text": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "a red circle on a blue background\n"
                        "a yellow star on a black background",
                        "tooltip": "One prompt a line. Empty lines and # comments are left out.",
                    },
                ),
                "negative_prompt": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "",
                        "tooltip": "What no image should show; shared by all prompts. "
                        "Used while cfg is over 1.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, text: str | None) -> bool | BatchSDXLError:
        """Refuse an empty list before anything runs."""
        try:
            if text is not None:
                parse_prompts(text)
        except BatchSDXLError as error:
            return error
        return True

    def run(self, text: str, negative_prompt: str) -> tuple[tuple[Prompt, ...], int]:
        """Read the lines."""
        prompts = parse_prompts(text, negative_prompt)
        return prompts, len(prompts)
