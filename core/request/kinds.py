"""Kinds of values that a field can have: checked, written as plain values and read back.

Each refuses what it does not take with an InvalidRequest that says what was expected. Numbers may
come as numpy has them; they are kept as Python's own.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InvalidImage, InvalidRequest
from ..images.source import SourceImage, read_image
from ..wording import brief
from .named import Named

#: Letters of the longest text: some 60 chunks of 77 tokens. It bounds what a request can cost.
MAX_TEXT = 20_000
#: Letters of the longest name.
MAX_NAME = 100

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kind:
    """Any plain value: None, a truth value, a finite number, a text.

    Attributes:
        is_typed: whether a person can type it, for `from_text` to read.
    """

    is_typed = False

    @property
    def range(self) -> str:
        """What values there are, behind the name of a field: `of 0 to 1`."""
        return "that is a number, a text or None"

    def check(self, called: str, value: Any, advice: str) -> Any:
        """The value as a request keeps it.

        Args:
            called: what the field is called in messages, with its article.
            value: anything.
            advice: what a person can do if it is refused.

        Raises:
            InvalidRequest: it is none of this kind, or out of range.
            InvalidImage: a picture cannot be used.
        """
        plain = value is None or isinstance(value, str | int)
        if not (plain or (isinstance(value, float) and math.isfinite(value))):
            self.refuse(called, value, advice)
        return value

    def refuse(self, called: str, value: object, advice: str) -> NoReturn:
        """Say what was expected."""
        raise InvalidRequest(
            f"{called} {self.range}", brief(value), advice or "Choose one in that range."
        )

    def to_plain(self, value: Any) -> Any:
        """The value as JSON can hold it."""
        return value

    def to_identity(self, value: Any) -> Any:
        """Likewise, but no more than the image depends on."""
        return self.to_plain(value)

    def from_plain(self, called: str, value: Any, advice: str) -> Any:
        """The value again, checked: `check`'s arguments and errors."""
        return self.check(called, value, advice)

    def from_text(self, text: str) -> Any:
        """What a person typed, not checked yet.

        Raises:
            ValueError: it cannot be read.
        """
        return text


@dataclass(frozen=True)
class Whole(Kind):
    """Whole numbers from `low` to `high`, in steps from 0 on."""

    is_typed = True

    low: int
    high: int
    step: int = 1

    @property
    def range(self) -> str:
        """The bounds and the step."""
        step = "in whole numbers" if self.step == 1 else f"a multiple of {self.step}"
        return f"of {self.low} to {self.high}, {step}"

    def check(self, called: str, value: Any, advice: str) -> int:
        """The value as an int."""
        try:
            number = None if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = None
        if number is None or not self.low <= number <= self.high or number % self.step:
            self.refuse(called, value, advice)
        return number

    def from_text(self, text: str) -> int:
        """Digits as a number."""
        return int(text)


@dataclass(frozen=True)
class Pixels(Whole):
    """Sides of an image: a multiple of so many pixels."""

    low: int = 8
    high: int = 16384
    step: int = 8

    def refuse(self, called: str, value: object, advice: str) -> NoReturn:
        """Name the nearest sides that there are."""
        if not isinstance(value, int) or not 0 < value <= self.high:
            super().refuse(called, value, "512, 768 and 1024 are common.")
        below = value // self.step * self.step
        raise InvalidRequest(
            f"{called} that is a multiple of {self.step} pixels",
            brief(value),
            f"The nearest are {below or self.step} and {below + self.step}.",
        )


@dataclass(frozen=True)
class Number(Kind):
    """Finite numbers from `low` to `high`, kept as floats; `above` leaves `low` itself out."""

    is_typed = True

    low: float
    high: float
    above: bool = False

    @property
    def range(self) -> str:
        """The bounds."""
        return (
            f"over {self.low}, up to {self.high}" if self.above else f"of {self.low} to {self.high}"
        )

    def check(self, called: str, value: Any, advice: str) -> float:
        """The value as a float."""
        number = math.nan  # which is in no range
        if isinstance(value, Real) and not isinstance(value, bool):
            with suppress(OverflowError):
                number = float(value)
        if not self.low <= number <= self.high or (self.above and number == self.low):
            self.refuse(called, value, advice)
        return number + 0.0  # there is no -0

    def from_text(self, text: str) -> float:
        """Digits as a number."""
        return float(text)


@dataclass(frozen=True)
class Text(Kind):
    """Texts of limited length."""

    is_typed = True

    most: int = MAX_TEXT

    @property
    def range(self) -> str:
        """The most letters."""
        return f"as one text of at most {self.most:,} characters"

    def check(self, called: str, value: Any, advice: str) -> str:
        """The value as a str."""
        if not isinstance(value, str):
            self.refuse(called, value, advice)
        if len(value) > self.most:
            raise InvalidRequest(f"{called} {self.range}", f"{len(value):,}", "Shorten it.")
        try:
            value.encode()
        except UnicodeEncodeError:  # no text encoder takes it
            raise InvalidRequest(
                f"{called} of whole characters", f"half of one in {brief(value)}", "Take it out."
            ) from None
        return str(value)


@dataclass(frozen=True)
class Name(Kind):
    """Names that `known` lets pass; it raises InvalidRequest for others."""

    is_typed = True

    known: Callable[[str], None]

    @property
    def range(self) -> str:
        """What they are."""
        return f"by a name of at most {MAX_NAME} characters"

    def check(self, called: str, value: Any, advice: str) -> str:
        """The value as a str."""
        if not isinstance(value, str) or len(value) > MAX_NAME:
            self.refuse(called, value, advice)
        self.known(value)
        return str(value)


@dataclass(frozen=True)
class Picture(Kind):
    """Pictures: their pixels, or what is known of them."""

    @property
    def range(self) -> str:
        """What is taken."""
        return "as a picture, an array of its pixels or the path of a file"

    def check(self, called: str, value: Any, advice: str) -> SourceImage | Named:
        """The value as pixels, those of a file read; what is only known of one stays that."""
        if isinstance(value, SourceImage | Named):
            return value
        try:
            if isinstance(value, str | Path):
                return read_image(Path(value))
            return SourceImage.of(value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            if isinstance(error, InvalidImage):
                raise
            raise InvalidImage(f"{called} {self.range}", brief(value), advice) from error

    def to_plain(self, value: SourceImage | Named) -> dict[str, str]:
        """Its name and its SHA-256."""
        return {"name": value.name, "sha256": value.digest}

    def to_identity(self, value: SourceImage | Named) -> str:
        """Its SHA-256."""
        return value.digest

    def from_plain(self, called: str, value: Any, advice: str) -> Named:
        """What is known of it."""
        return named(called, value)


def named(called: str, value: Any) -> Named:
    """A name and a SHA-256 as JSON has them.

    Raises:
        InvalidRequest: there is anything else.
    """
    if (
        isinstance(value, dict)
        and value.keys() == {"name", "sha256"}
        and isinstance(value["name"], str)
        and len(value["name"]) <= MAX_TEXT
    ):
        return Named(value["name"], digest(f"the sha256 of {called}", value["sha256"]))
    raise InvalidRequest(f"{called} by name and sha256", brief(value), "Leave it as it was.")


def digest(called: str, value: Any) -> str:
    """A SHA-256 in hexadecimal.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InvalidRequest(f"{called} in 64 digits", brief(value), "Leave it as it was.")
    return value
