"""Rows -> prompts: templates, wildcards, and all variants of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import InvalidPrompts
from .plain_text import text_rows
from .prompt import NO_SETTINGS, Prompt, Settings
from .rows import FIELDS, Row, slots
from .text_files import text_lines
from .variants import has_choices
from .wildcards import COUNTED_UP_TO, Wildcards

#: The most variants that `expand` can be asked for.
MAX_PROMPTS = 1_000_000

_logger = logging.getLogger("batch_sdxl")


class Template(NamedTuple):
    """What becomes of each row.

    Attributes:
        text: with `{name}` where the row's value of that name goes; empty for its prompt.
        prefix: put before, exactly as written.
        suffix: put behind, exactly as written.
        negative_prompt: of rows that have none of their own.
    """

    text: str = ""
    prefix: str = ""
    suffix: str = ""
    negative_prompt: str = ""

    def names(self) -> set[str]:
        """The fields that the text names."""
        return slots(self.text)

    def fill(self, row: Row) -> Prompt:
        """The prompt of a row.

        Raises:
            InvalidPrompts: the row has no prompt, lacks a name, or a value cannot be used.
        """
        text = row.filled(self.text) if self.text else row.prompt()
        negative = row.negative_prompt() or self.negative_prompt
        settings = row.settings()
        return Prompt(
            f"{self.prefix}{text}{self.suffix}",
            negative,
            Settings(settings) if settings else NO_SETTINGS,
        )


#: Makes of each row its own prompt.
PLAIN = Template()


def compose(
    rows: Iterable[Row],
    template: Template = PLAIN,
    wildcards: Wildcards | None = None,
) -> Iterator[Prompt]:
    """A prompt of each row, one at a time.

    Args:
        rows: of `prompt_files.read_rows` or `prompt_text.text_rows`.
        template: what to make of them.
        wildcards: to draw from in `Prompt.resolved`. None: braces and underscores are text.

    Raises:
        InvalidPrompts: a row cannot be used; the message names its place.
    """
    told = {*FIELDS, *template.names()}
    for row in rows:
        if unused := row.values.keys() - told:
            told |= unused
            _logger.warning("%s: nothing uses %s", row.place(), ", ".join(sorted(unused)))
        prompt = template.fill(row)
        if wildcards is not None and has_choices(prompt.prompt + prompt.negative_prompt):
            wildcards.measure(prompt.prompt, f"the prompt of {row.place('prompt')}")
            wildcards.measure(prompt.negative_prompt, f"the negative prompt of {row.place()}")
            prompt = prompt._replace(wildcards=wildcards)
        yield prompt


def expand(prompts: Iterable[Prompt], limit: int) -> Iterator[Prompt]:
    """All variants of each prompt: what `resolved` could give.

    Args:
        prompts: of `compose`.
        limit: the most prompts that may come of it.

    Raises:
        InvalidPrompts: it would be more; the message says how many. Nothing is listed then.
    """
    sources = list(prompts)
    total = sum(map(count_variants, sources))
    _logger.info("%s prompts of all variants", format(total, ","))
    if total > limit:
        raise InvalidPrompts(
            f"at most {limit:,} prompts of all variants",
            f"{'10^18 or more' if total >= COUNTED_UP_TO else format(total, ',')}",
            "Take out choices, draw at random, or raise the limit.",
        )
    for source in sources:
        if source.wildcards is None:
            yield source
            continue
        for text in source.wildcards.variants(source.prompt):
            for negative in source.wildcards.variants(source.negative_prompt):
                yield Prompt(text, negative, source.settings)


def count_variants(prompt: Prompt) -> int:
    """How many different prompts it can become; 10**18 stands for that many or more."""
    if prompt.wildcards is None:
        return 1
    measure = prompt.wildcards.measure
    return (
        measure(prompt.prompt, "the prompt").variants
        * measure(prompt.negative_prompt, "the negative prompt").variants
    )


def parse_prompts(text: str, negative_prompt: str = "") -> tuple[Prompt, ...]:
    """The prompts of a text as `prompt_text` describes it.

    Args:
        text: lines of any platform's ending.
        negative_prompt: of those that have none of their own.

    Raises:
        InvalidPrompts: it holds no prompt, or one that cannot be used.
    """
    template = Template(negative_prompt=negative_prompt.strip())
    return require(compose(text_rows(lambda: text_lines(text)), template), "the text")


def require(prompts: Iterable[Prompt], source: str) -> tuple[Prompt, ...]:
    """The prompts, if there are any.

    Raises:
        InvalidPrompts: there is none.
    """
    found = tuple(prompts)
    if not found:
        raise InvalidPrompts(
            "at least one prompt",
            f"nothing but empty lines and comments in {source}",
            "Write one prompt a line.",
        )
    return found
