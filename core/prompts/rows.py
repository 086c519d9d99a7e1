"""One row of a prompt source: values by name, and where each stands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

from ..errors import InvalidPrompts
from ..request import kinds
from ..request.fields import declared
from ..request.image_request import ImageRequest

#: A typed value of a row.
Setting = int | float | str

#: Fields that no row says: the names of samplers are many, and a node checks them; latents are in
#: no file.
_NO_COLUMNS = ("scheduler", "latents")

_COLUMNS = [one for one in declared(ImageRequest) if one.name not in _NO_COLUMNS]

_INTEGER = re.compile(r"([+-]?\d{1,30})(?:\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)
#: Of 1,234 nobody can tell; of 7,5 everybody.
_DECIMAL_COMMA = re.compile(r"[+-]?\d{1,30},(?:\d{1,2}|\d{4,30})", re.ASCII)
_ROUNDED = re.compile(r"\d[.,]?\d*E\+\d+", re.IGNORECASE | re.ASCII)
#: Signs that no one sees, which programs and web pages leave at the start of a name.
_UNSEEN = re.compile("[\u200b-\u200d\ufeff]")
_SLOT = re.compile(r"\{([^\W\d][\w -]*)\}")


def normal(name: str) -> str:
    """A header, key or option as fields are called: `CFG scale` is cfg_scale."""
    return re.sub(r"[\s_-]+", "_", _UNSEEN.sub("", name).strip().casefold())


#: What people call the fields of `ImageRequest` in headers, keys and options.
SYNONYMS = {
    **{
        normal(word): one.name
        for one in _COLUMNS
        # A word by which others count otherwise is no other name.
        for word in (one.name, one.comfyui, "" if one.a1111_offset else one.a1111)
        if word
    },
    "positive": "prompt",
    "positive_prompt": "prompt",
    "text": "prompt",
    "negative": "negative_prompt",
    "noise_seed": "seed",
    "file": "image",
    "filename": "image",
}

#: The fields that have a meaning of their own; others are for templates.
FIELDS = frozenset(SYNONYMS.values())


def field_of(name: str) -> str:
    """What a header, key or option means: a field of `ImageRequest`, else its `normal` form."""
    return SYNONYMS.get(normal(name), normal(name))


def slots(template: str) -> set[str]:
    """The fields that a template names."""
    return {field_of(name) for name in _SLOT.findall(template)}


def fields(names: Iterable[str], where: Callable[[int], str]) -> list[str]:
    """The field of each name: one of `ImageRequest`, else the name itself in `normal` form.

    One that is blank, as spreadsheets leave behind the last, is called by its number.

    Args:
        names: in the words of a file.
        where: the place of the name of an index, for messages.

    Raises:
        InvalidPrompts: two names mean one field.
    """
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        field = field_of(name) or f"column {index + 1}"
        if field in seen:
            raise InvalidPrompts(
                f"{field} once", f"{seen[field]!r} and {name!r} at {where(index)}", "Keep one."
            )
        seen[field] = name
    return list(seen)


class Row:
    """Values of one image, as its source says them."""

    __slots__ = ("_columns", "_source", "line", "values")

    def __init__(
        self,
        source: str,
        line: int,
        values: Mapping[str, object],
        columns: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        """Take values as they are; they are checked when they are asked for.

        Args:
            source: name of the file; empty for a text box.
            line: of its start, from 1 on; 0 where a source has no lines.
            values: by field; text, or what JSON holds. None and blank text say nothing.
            columns: line and column of each field; else all stand at the start of the line.
        """
        self._source = source
        self.line = line
        self.values = values
        self._columns = columns or {}

    def place(self, field: str = "") -> str:
        """Where a field stands: file:line:column."""
        return place(self._source, *self._columns.get(field, (self.line, 1)))

    def prompt(self) -> str:
        """The prompt.

        Raises:
            InvalidPrompts: there is none.
        """
        text = self._text("prompt")
        if not text:
            others = [name for name in self.values if name not in FIELDS]
            near = get_close_matches("prompt", others, 1)
            raise InvalidPrompts(
                "a prompt",
                f"none at {self.place('prompt')}"
                + (f" (but {', '.join(map(repr, others[:5]))})" if others else ""),
                "Fill in a column (or key) called prompt, or write a template."
                + (f" Did you mean prompt by {near[0]}?" if near else ""),
            )
        return text

    def negative_prompt(self) -> str:
        """The negative prompt, empty where the row says none."""
        return self._text("negative_prompt")

    def settings(self) -> dict[str, Setting]:
        """What the row says beside its prompts, typed, by the names of `ImageRequest`.

        A seed of -1 says nothing: elsewhere it stands for any.

        Raises:
            InvalidPrompts: a value has not its field's type.
        """
        settings: dict[str, Setting] = {}
        for field, value in self.values.items():
            known = _TYPES.get(field)
            if not known or value is None or (isinstance(value, str) and not value.strip()):
                continue
            read, said = known
            setting = read(value)
            if setting is None:
                self._refuse(field, said, value)
            if not (field == "seed" and setting == -1):
                settings[field] = setting
        return settings

    def filled(self, template: str) -> str:
        """A template with its `{name}`s replaced by this row's values.

        Other braces stay as they are.

        Raises:
            InvalidPrompts: the row has no such name, or no value of it.
        """
        return _SLOT.sub(lambda match: self._slot(match[1], match.start()), template)

    def _slot(self, name: str, at: int) -> str:
        field = field_of(name)
        value = self.values.get(field)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value).strip()
        near = get_close_matches(field, [str(known) for known in self.values], 1)
        known = f"Known are {', '.join(list(self.values)[:20])}."
        raise InvalidPrompts(
            f"a value for {{{name}}} (character {at + 1} of the template) in each row",
            f"none at {self.place(field)}",
            f"Did you mean {{{near[0]}}}?" if near and near[0] != field else known,
        )

    def _text(self, field: str) -> str:
        value = self.values.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._refuse(field, "a text", value)
        return value.strip()

    def _refuse(self, field: str, expected: str, value: object) -> NoReturn:
        said = repr(value)
        action = "Correct that value, or leave it out."
        if isinstance(value, str) and _ROUNDED.fullmatch(value.strip()):
            action = (
                "Excel has rounded it: give the column the format Text, and type the number again."
            )
        raise InvalidPrompts(
            f"{expected} for {field}",
            f"{said if len(said) <= 60 else said[:57] + '...'} at {self.place(field)}",
            action,
        )


def place(source: str, line: int, column: int) -> str:
    """A place as people and editors write it: `file:line:column`, `line 3, character 5`."""
    if not source:
        return f"line {line}, character {column}"
    return f"{source}:{line}:{column}" if line else source


def _integer(value: object) -> int | None:
    """A whole number; spreadsheets write them as 20.0 at times."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    match = _INTEGER.fullmatch(str(value).strip()) if isinstance(value, str | int) else None
    return int(match[1]) if match else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    return number if math.isfinite(number := float(text)) else None


def _name(value: object) -> str | None:
    return value.strip() if isinstance(value, str) else None


#: Kind of a field -> how a value of it is read, and what it is called.
_READERS: dict[type, tuple[Callable[[object], Setting | None], str]] = {
    kinds.Whole: (_integer, "a whole number"),
    kinds.Number: (_number, "a number"),
    kinds.Name: (_name, "a name"),
    kinds.Picture: (_name, "the name of a file"),
}
_TYPES = {
    one.name: reader
    for one in _COLUMNS
    for kind, reader in _READERS.items()
    if isinstance(one.kind, kind)
}
