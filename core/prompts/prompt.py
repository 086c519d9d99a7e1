"""Prompts: what an image should show, and what its row says beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .foreign_syntax import refuse_tags
from .rows import Setting
from .wildcards import Wildcards


class Settings(Mapping[str, Setting]):
    """What a row says beside its prompts: an immutable mapping that can be hashed."""

    __slots__ = ("_pairs",)

    def __init__(self, values: Mapping[str, Setting] | None = None) -> None:
        """Take values by the names of `ImageRequest`'s fields."""
        self._pairs = tuple(values.items()) if values else ()

    def __getitem__(self, name: str) -> Setting:
        """The value of that name."""
        for key, value in self._pairs:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the row."""
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def __hash__(self) -> int:
        """Of the values, in whatever order."""
        return hash(frozenset(self._pairs))

    def __repr__(self) -> str:
        """As one writes it."""
        return f"Settings({dict(self._pairs)})"


NO_SETTINGS = Settings()


class Prompt(NamedTuple):
    """What an image should show, and what it should not.

    Attributes:
        prompt: text; with wildcards, one that `resolved` draws from.
        negative_prompt: as prompt.
        settings: what its row says of other fields of `ImageRequest`, which checks their ranges;
            image is the name of a file.
        wildcards: to draw from; None when the texts stand for themselves.
        origin: identity of the image that the prompt was refined from; empty for none.
    """

    prompt: str
    negative_prompt: str = ""
    settings: Settings = NO_SETTINGS
    wildcards: Wildcards | None = None
    origin: str = ""

    def with_defaults(self, settings: Mapping[str, Setting]) -> Prompt:
        """The prompt with settings for what its row does not say."""
        return self._replace(settings=Settings({**settings, **self.settings}))

    def resolved(self, seed: int) -> Prompt:
        """The prompt with its choices drawn: by the seed, their place and their values alone.

        Raises:
            InvalidPrompts: a text cannot be read (never for prompts that `compose` made), or one
                that was drawn has a tag such as <lora:name:1>.
        """
        if self.wildcards is None:
            return self
        drawn = Prompt(
            self.wildcards.draw(self.prompt, seed, "prompt"),
            self.wildcards.draw(self.negative_prompt, seed, "negative_prompt"),
            self.settings,
            origin=self.origin,
        )
        for text in drawn[:2]:
            refuse_tags(text, f"{text[:40]!r}, drawn of {self.prompt[:40]!r}")
        return drawn
