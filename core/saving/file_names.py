"""Templates such as `{source}_{index:04}_{seed}` -> names of files.

Names can be stored on every system: what a prompt or a picture's name brings along is made safe,
too long a text is cut, and a template can lead into subfolders but never out of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from string import Formatter
from typing import Any, NamedTuple

from ..errors import OutputError
from ..request.record import Record
from ..request.row import Row, ToldRow
from .safe_names import MOST_BYTES, NUMBER, safe_part, safe_text, shortened, slug


@dataclass(frozen=True)
class Source:
    """What the name of one image is made from.

    Attributes:
        record: the row of the image.
        index: place of the image among those saved together, from 1 on.
        prefix: start of the names; may name subfolders.
        now: when they are saved.
    """

    record: Row
    index: int
    prefix: str
    now: datetime


class FileName(NamedTuple):
    """A name without its ending.

    Attributes:
        folder: with / between its parts; empty for none.
        before: what comes before the number, or all if there is none.
        number: how the number is written, such as `05`; None for a name without one.
        after: what comes after it.
    """

    folder: str
    before: str
    number: str | None
    after: str

    @property
    def path(self) -> str:
        """Folder and name, with the first number."""
        return f"{self.folder}/{self.numbered(1)}".removeprefix("/")

    def numbered(self, number: int) -> str:
        """The name with that number; without a place for it, `name`, `name_2`, `name_3`."""
        if self.number is not None:
            return f"{self.before}{number:{self.number}}{self.after}"
        return self.before if number == 1 else f"{self.before}_{number}"


class _Field(NamedTuple):
    """How a name of a template is filled in.

    Attributes:
        value: of an image.
        usual: what stands after the colon where a template has none.
        spec: what may stand there.
        example: of it, for people.
    """

    value: Callable[[Source], Any]
    usual: str
    spec: re.Pattern[str]
    example: str


_DIGITS = re.compile(r"0?\d{0,2}")
_LENGTH = re.compile(r"[1-9]\d{0,2}")
_DATE = re.compile(r"(?:[^%]|%[aAbBdfHIjmMpSuUVwWyY%])+", re.DOTALL)


def _number(value: Callable[[Source], Any]) -> _Field:
    return _Field(value, "", _DIGITS, "05 for five digits")


def _text(value: Callable[[Source], Any], most: int) -> _Field:
    return _Field(value, str(most), _LENGTH, "20 for at most twenty characters")


def _source_name(source: Source) -> str:
    image = source.record.request.picture
    if image is None:
        return re.split(r"[/\\]", source.prefix)[-1]
    # `clip.gif#3` is the third frame of clip.gif.
    name, frame = re.fullmatch(r"(.*?)(#\d+)?", image.name, re.DOTALL).groups()  # type: ignore[union-attr]
    stem = re.sub(r"(?<=.)\.[^.]*$", "", re.split(r"[/\\]", name)[-1])
    return stem + (frame or "").replace("#", "_")


def _record(source: Source) -> Record:
    """Of an image of ours: `fill` lets no other come here."""
    assert isinstance(source.record, Record)
    return source.record


FIELDS = {
    "prefix": _Field(lambda s: s.prefix, "", re.compile(""), "nothing"),
    "number": _number(lambda s: 0),
    "index": _number(lambda s: s.index),
    "i": _number(lambda s: s.index - 1),
    "seed": _number(lambda s: s.record.request.seed),
    "source": _text(_source_name, 80),
    "prompt": _text(lambda s: slug(s.record.request.prompt) or "no-prompt", 40),
    "width": _number(lambda s: s.record.request.width),
    "height": _number(lambda s: s.record.request.height),
    "steps": _number(lambda s: _record(s).request.num_inference_steps),
    "cfg": _text(lambda s: f"{_record(s).request.guidance_scale:g}", 12),
    "sampler": _text(lambda s: _record(s).request.scheduler.partition(":")[0], 40),
    "scheduler": _text(lambda s: _record(s).request.scheduler.partition(":")[2], 40),
    "model": _text(lambda s: _record(s).model.name, 40),
    "identity": _text(lambda s: s.record.identity, 12),
    "date": _Field(lambda s: s.now, "%Y-%m-%d", _DATE, "%Y-%m-%d_%H-%M-%S"),
}


#: Of them, what only a record of ours says.
_RECORDED = frozenset({"steps", "cfg", "sampler", "scheduler", "model", "identity"})


class NameTemplate:
    """A template, checked."""

    def __init__(self, text: str) -> None:
        """Read a template.

        Args:
            text: names of `FIELDS` in braces, with : and a form behind them where wanted.

        Raises:
            OutputError: it cannot be a name.
        """
        self._text = text
        try:
            self._pieces = [
                (literal, name, spec or "") for literal, name, spec, how in _parsed(text)
            ]
        except ValueError as error:
            raise self._refused("a file_name with braces in pairs", f"({error})") from None
        for literal, name, spec in self._pieces:
            self._check(literal, name, spec)
        if [name for _, name, _ in self._pieces].count("number") > 1:
            raise self._refused("{number} at most once in file_name")
        parts = "".join(
            literal + ("" if name is None else "x" if name != "number" else NUMBER)
            for literal, name, _ in self._pieces
        ).split("/")
        if any(not part.strip(" .") for part in parts):
            raise self._refused("a file_name that stays in its folder and names a file")
        if any(NUMBER in part for part in parts[:-1]):
            raise self._number_in_a_folder()

    def uses(self, name: str) -> bool:
        """Whether a name of `FIELDS` is in it."""
        return any(name == piece[1] for piece in self._pieces)

    def fill(self, source: Source) -> FileName:
        """The name of one image.

        Raises:
            OutputError: it would be too long, or takes what is not known of the image.
        """
        self._check_known(source.record)
        parts: list[list[tuple[str, bool]]] = [[]]
        number = None
        for literal, name, spec in self._pieces:
            _add(parts, literal)
            if name == "number":
                number = spec
                parts[-1].append((NUMBER, False))
            elif name == "prefix":
                _add(parts, source.prefix.replace("\\", "/"))
            elif name == "date":
                # Its form may hold a / as the template's own text does.
                _add(parts, safe_text(source.now.strftime(spec or FIELDS[name].usual), keep="/"))
            elif name is not None:
                parts[-1].append(_filled(FIELDS[name], spec, source))
        *folders, last = [safe_part(shortened(part)) for part in parts]
        if any(NUMBER in folder for folder in folders):
            raise self._number_in_a_folder()
        if any(len(part.encode()) > MOST_BYTES for part in (*folders, last)):
            raise self._refused(f"names of at most {MOST_BYTES} bytes", f"for {last[:40]}…")
        before, _, after = last.partition(NUMBER)
        return FileName("/".join(folders), before, number, after)

    def _check_known(self, row: Row) -> None:
        if not isinstance(row, ToldRow):
            return
        unknown = _RECORDED if row.request.seed is not None else _RECORDED | {"seed"}
        for _, name, _ in self._pieces:
            if name in unknown:
                raise OutputError(
                    "in file_name what is known of images without rows",
                    f"{self._text!r} with {{{name}}}",
                    "Wire rows, or seeds for {seed}; or take it out.",
                )

    def _check(self, literal: str, name: str | None, spec: str) -> None:
        if safe_text(literal, keep="/") != literal:
            raise self._refused('a file_name without < > : " \\ | ? * and control characters')
        if name is None:
            return
        field = FIELDS.get(name)
        if field is None:
            raise self._refused(
                f"these in braces: {', '.join(FIELDS)}", f"with {{{name}}}, which is none of them"
            )
        if spec and not field.spec.fullmatch(spec):
            raise self._refused(f"{field.example} after {{{name}:", f"with {spec}")

    def _number_in_a_folder(self) -> OutputError:
        return self._refused("in file_name {number} after the last /, folders have none")

    def _refused(self, expected: str, why: str = "") -> OutputError:
        return OutputError(
            expected,
            f"{self._text!r} {why}".rstrip(),
            "Write for example {source}_{index:04}_{seed}, or nothing for the usual names.",
        )


def _parsed(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    parsed = list(Formatter().parse(text))
    if any(how for *_, how in parsed):
        raise ValueError("no ! can stand in braces")
    return parsed


def _add(parts: list[list[tuple[str, bool]]], text: str) -> None:
    """Text whose slashes begin new parts, and that is not cut."""
    first, *others = text.split("/")
    parts[-1].append((first, False))
    parts.extend([(other, False)] for other in others)


def _filled(field: _Field, spec: str, source: Source) -> tuple[str, bool]:
    """A value as it stands in a name, and whether it can be cut further."""
    value = field.value(source)
    if field.spec is _DIGITS:
        return f"{value:{spec}}", False
    return safe_text(str(value))[: int(spec or field.usual)].strip("-"), True
