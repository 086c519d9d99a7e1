"""Rows -> prompts: templates, wildcards, and all variants of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import NamedTuple

from ..combinations import MOST
from ..errors import InvalidPrompts
from .foreign_syntax import plain_here, refuse_tags
from .plain_text import text_rows
from .prompt import NO_SETTINGS, Prompt, Settings
from .rows import FIELDS, SYNONYMS, Row, normal, slots
from .text_files import tell, text_lines
from .variants import has_choices
from .wildcards import COUNTED_UP_TO, Wildcards

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
    tell: Callable[[str], None] = tell,
) -> Iterator[Prompt]:
    """A prompt of each row, one at a time.

    Args:
        rows: of `files.read_rows` or `plain_text.text_rows`.
        template: what to make of them.
        wildcards: to draw from in `Prompt.resolved`. None: braces and underscores are text.
        tell: takes what is not used, and what is plain text here: each once, a line at a time.

    Raises:
        InvalidPrompts: a row cannot be used; the message names its place.
    """
    used = {*FIELDS, *template.names()}
    plain: set[str] = set()
    for row in rows:
        if _is_heading(row) and not template.text:
            tell(f"{row.place()}: the heading {row.values['name']} is left out")
            continue
        if unused := {name for name, v in row.values.items() if str(v or "").strip()} - used:
            used |= unused
            tell(f"{row.place()}: nothing uses {', '.join(map(_with_near, sorted(unused)))}")
        prompt = template.fill(row)
        if "name" in row.values and "{prompt}" in prompt.prompt:
            raise InvalidPrompts(
                "prompts that stand for themselves",
                f"a style, in which {{prompt}} stands for a prompt, at {row.place('prompt')}",
                "AUTOMATIC1111's web UI adds its styles.csv to prompts; here each row is one. "
                "Write your own words in place of {prompt}, in a copy.",
            )
        for text, where in (
            (prompt.prompt, row.place("prompt")),
            (prompt.negative_prompt, row.place("negative_prompt")),
        ):
            refuse_tags(text, where)
            for name, example in plain_here(text):
                if name not in plain:
                    plain.add(name)
                    tell(f"{where}: {example[:60]} is plain text here, not {name}")
        if wildcards is not None and has_choices(prompt.prompt + prompt.negative_prompt):
            wildcards.measure(prompt.prompt, f"the prompt of {row.place('prompt')}")
            wildcards.measure(prompt.negative_prompt, f"the negative prompt of {row.place()}")
            prompt = prompt._replace(wildcards=wildcards)
        yield prompt


def _is_heading(row: Row) -> bool:
    """Whether a row of a styles file is between two groups of them: `----- Colours -----`."""
    others = any(str(v or "").strip() for name, v in row.values.items() if name != "name")
    return not others and str(row.values.get("name") or "").lstrip().startswith("---")


def _with_near(name: str) -> str:
    near = get_close_matches(normal(name), SYNONYMS, 1, 0.75)
    return f"{name} (did you mean {near[0]}?)" if near else name


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


def text_prompt(text: str) -> Prompt:
    """A text, be it of many lines, as one prompt.

    Raises:
        InvalidPrompts: it has a tag such as <lora:name:1>, which only other programs know.
    """
    refuse_tags(text, f"{text[:40]!r}")
    return Prompt(text)


def require(prompts: Iterable[Prompt], source: str) -> tuple[Prompt, ...]:
    """The prompts, if there are any.

    Raises:
        InvalidPrompts: there is none, or more than `MOST`.
    """
    found = tuple(islice(prompts, MOST + 1))
    if len(found) > MOST:
        raise InvalidPrompts(
            f"at most {MOST:,} prompts", f"more in {source}", "Split it into several runs."
        )
    if not found:
        raise InvalidPrompts(
            "at least one prompt",
            f"nothing but empty lines and comments in {source}",
            "Write one prompt a line.",
        )
    return found
