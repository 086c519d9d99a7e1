r"""The syntax of prompts with choices in them.

{a|b}               one of the options; blanks around an option are left out
{3::a|b}            a three times as often as b
{2$$a|b|c}          two different ones, joined by a comma and a blank
{1-2$$ and $$a|b}   one or two, joined by ` and `; an end left open is 1 or all
__animal__          one of the wildcard animal; `*` in a name stands for any part of it, `**` for
                    any path
\{ \} \| \__        the signs themselves

Options may hold choices in turn. `core.prompts.wildcards` draws from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from ..errors import InvalidPrompts

#: Choices within choices, wildcards within wildcards included.
MAX_DEPTH = 40

#: The most values that one choice may be asked for at once.
MAX_PICKS = 100

_PLAIN = re.compile(r"[^\\{}|_]+")
_NAME = re.compile(r"[^\s_{}|$,](?:[^{}|$,\n]*[^\s_{}|$,])?")
_PICKS = re.compile(r"\s*(?:(\d{1,9})|(\d{0,9})-(\d{0,9}))\$\$(?:([^{}|$]*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d+\.?\d*|\.\d+)::")
_FOREIGN = re.compile(r"\s*[~!@]")


@dataclass(frozen=True)
class Wildcard:
    """A reference to the values of a wildcard.

    Attributes:
        name: as written, without the underscores.
        at: characters before it in its text.
    """

    name: str
    at: int = field(compare=False)


@dataclass(frozen=True)
class Choice:
    """Some of several options.

    Attributes:
        options: each a text with choices in turn; at least one.
        weights: of the options, over 0.
        low: the fewest that are taken, 0 or more.
        high: the most that are taken; None for all there are.
        separator: between them.
        at: characters before it in its text.
    """

    options: tuple[Text, ...]
    weights: tuple[float, ...]
    low: int = 1
    high: int | None = 1
    separator: str = ", "
    at: int = field(default=0, compare=False)

    @cached_property
    def cumulative(self) -> tuple[float, ...]:
        """Sums of the weights up to and with each option."""
        return tuple(accumulate(self.weights))

    @cached_property
    def distinct(self) -> tuple[Text, ...]:
        """The options without repetitions, in order."""
        return tuple(dict.fromkeys(self.options))


#: A parsed text: what stands as it is, and what is to be chosen, in order.
Text = tuple[str | Wildcard | Choice, ...]


def has_choices(text: str) -> bool:
    """Whether a text may mean anything but itself; false for most prompts, at a glance."""
    return any(sign in text for sign in ("{", "__", "}", "\\|"))


def parse(text: str, where: str) -> Text:
    """The parts of a text.

    Args:
        text: in the syntax above.
        where: what to call it in messages, such as `line 3`.

    Raises:
        InvalidPrompts: a brace is not closed, a weight or number cannot be used, and the like.
    """
    return _Parser(text, where).whole()


def parse_option(text: str, where: str) -> tuple[float, Text]:
    """Weight and parts of a value of a wildcard, such as `3::tabby cat`.

    Raises:
        InvalidPrompts: as `parse`.
    """
    parser = _Parser(text, where)
    return parser.weight(), parser.whole()


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0
        self.depth = 0

    def whole(self) -> Text:
        parts = tuple(self._parts(""))
        if self.at < len(self.text):
            raise self._error(
                "braces in pairs", "a } without its {", r"Take it out, or write \} for the sign."
            )
        return parts

    def weight(self) -> float:
        match = _WEIGHT.match(self.text, self.at)
        if not match:
            return 1.0
        weight = float(match[1])
        if not math.isfinite(weight):
            raise self._error("a weight that can be counted with", match[1][:20], "Use less.")
        self.at = match.end()
        return weight

    def _parts(self, stops: str) -> Iterator[str | Wildcard | Choice]:
        """Parts up to one of the signs, or to a closing brace, or to the end."""
        plain: list[str] = []
        while self.at < len(self.text) and self.text[self.at] not in "}" + stops:
            part = self._part()
            if isinstance(part, str):
                plain.append(part)
                continue
            if plain:
                yield "".join(plain)
                plain = []
            yield part
        if plain:
            yield "".join(plain)

    def _part(self) -> str | Wildcard | Choice:
        if match := _PLAIN.match(self.text, self.at):
            self.at = match.end()
            return match[0]
        if self.text[self.at] == "{":
            return self._choice()
        if self.text.startswith("__", self.at):
            return self._wildcard()
        if self.text.startswith("\\__", self.at):
            self.at += 3
            return "__"
        escaped = self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in set("{}|")
        self.at += 1 + escaped
        return self.text[self.at - 1]

    def _wildcard(self) -> str | Wildcard:
        start, end = self.at, self.text.find("__", self.at + 2)
        name = self.text[start + 2 : end] if end >= 0 else ""
        if not _NAME.fullmatch(name):
            self.at += 2
            return "__"
        self.at = end + 2
        return Wildcard(name, start)

    def _choice(self) -> Choice:
        start = self.at
        if self.text[start - 1 : start] in ("$", "%") and start > 0:
            raise self._unsupported("variables (${...}) and wraps (%{...})")
        self.at += 1
        if _FOREIGN.match(self.text, self.at):
            raise self._unsupported("~, ! or @ at the start of a choice")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} braces within each other", "more", "Use fewer.")
        low, high, separator = self._picks()
        options = [self._option()]
        while self.text[self.at : self.at + 1] == "|":
            self.at += 1
            options.append(self._option())
        if self.at >= len(self.text):
            self.at = start
            raise self._error(
                "braces in pairs", "a { that is not closed", r"Close it, or write \{ for the sign."
            )
        self.at += 1
        self.depth -= 1
        return self._checked(options, low, high, separator, start)

    def _checked(
        self,
        options: list[tuple[float, Text]],
        low: int,
        high: int | None,
        separator: str,
        start: int,
    ) -> Choice:
        kept = [(weight, option) for weight, option in options if weight]
        if not kept:
            self.at = start
            raise self._error("an option with a weight over 0", "none", "Raise one of them.")
        # A single wildcard stands for its values: how many they are is known only with the files.
        alone = len(kept) == 1 and [type(part) for part in kept[0][1]] == [Wildcard]
        most = high if high is not None else (low if alone else len(kept))
        if not low <= most <= (MAX_PICKS if alone else min(MAX_PICKS, len(kept))):
            self.at = start
            raise self._error(
                f"to take as many as there are, at most {min(MAX_PICKS, len(kept))}",
                f"{low} to {'all' if high is None else high}",
                "Correct the numbers before $$.",
            )
        weights, texts = zip(*kept, strict=True)
        return Choice(texts, weights, low, high, separator, start)

    def _picks(self) -> tuple[int, int | None, str]:
        match = _PICKS.match(self.text, self.at)
        if not match:
            return 1, 1, ", "
        self.at = match.end()
        exact, low, high, separator = match.groups()
        separator = ", " if separator is None else separator
        if exact is not None:
            return int(exact), int(exact), separator
        return int(low or 1), int(high) if high else None, separator

    def _option(self) -> tuple[float, Text]:
        weight = self.weight()
        return weight, _stripped(tuple(self._parts("|")))

    def _unsupported(self, what: str) -> InvalidPrompts:
        return self._error(
            "choices like {a|b}, {2$$a|b|c} or __name__",
            f"{what}, which are not supported",
            "Write it in another way.",
        )

    def _error(self, expected: str, got: str, action: str) -> InvalidPrompts:
        place = f"{got} at character {self.at + 1} of {self.where}"
        return InvalidPrompts(expected, place, action)


def _stripped(parts: Text) -> Text:
    """The parts without blanks at both ends."""
    inner = list(parts)
    if inner and isinstance(inner[0], str):
        inner[0] = inner[0].lstrip()
    if inner and isinstance(inner[-1], str):
        inner[-1] = inner[-1].rstrip()
    return tuple(part for part in inner if part != "")
