"""Text -> rows. Four forms, told apart by what is in the text.

A prompt a line; `#` starts a comment line, empty lines are left out:

    a red circle
    # the next one at night
    a blue star

Options, on lines that start with `--`, as AUTOMATIC1111's web UI reads them:

    --prompt "a red circle" --negative_prompt "blurry" --seed 5 --steps 20 --cfg_scale 7

Blocks, where a line of dashes stands between prompts of several lines, or `positive:` and
`negative:` start a line:

    positive: a red circle,
    on a blue background
    negative: blurry
    ---
    a blue star

A line `name: ...` in a block names it, and is no part of the prompt.

What AUTOMATIC1111's web UI writes of an image, each up to its line of settings:

    a red circle
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from ..errors import InvalidPrompts
from .picture_formats import parameters_fields
from .rows import SYNONYMS, Row, fields, normal, place
from .text_files import Line

_RULE = re.compile(r"-{3,}\s*")
_LABEL = re.compile(r"\s*(positive|negative|prompt|name)(?:[ _]prompt)?\s*:", re.IGNORECASE)
_SETTINGS = re.compile(r"Steps: \d+, .*\bSeed: \d")
_OTHERS = re.compile(r"\s*(?:<!doctype|<html|<\?xml|\{\\rtf)", re.IGNORECASE)
_OPTION = re.compile(r"--([A-Za-z][\w-]*)(?=\s|$)")
_VALUE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(?=\s|$)|\'([^\']*)\'(?=\s|$)|([^\s"\']\S*|[\'"])')
_ESCAPE = re.compile(r'\\(["\\])')
_BLANKS = re.compile(r"\s*")

_NODE = "of Batch Generate, for all images"
#: Where options of AUTOMATIC1111's web UI that mean nothing in a line belong.
_ELSEWHERE = {
    "sampler_name": f"sampler_name {_NODE}",
    "sampler_index": f"sampler_name {_NODE}",
    "scheduler": f"scheduler {_NODE}",
    "sd_model": "Load SDXL, for all images",
    "batch_size": "a seed for each image instead",
    "n_iter": "a seed for each image instead",
    "subseed": "--variation_seed here",
    "subseed_strength": "--variation_strength here",
    "outpath_samples": "filename_prefix of Save Image Batch",
    "prompt_for_display": "not needed",
    "styles": "write them into the prompt",
    "restore_faces": "not here",
    "tiling": "not here",
}
#: Numbers of images, which each line makes one of.
_ONE_IS_NONE = ("batch_size", "n_iter")


def text_rows(lines: Callable[[], Iterator[Line]], source: str = "") -> Iterator[Row]:
    """The rows of a text.

    Args:
        lines: a fresh iterator over it; it is gone through twice, since a form may show late.
        source: name of its file, for messages.

    Raises:
        InvalidPrompts: a line cannot be read; the message names its place.
    """
    first = next(lines(), None)
    if first and _OTHERS.match(first.text):
        raise InvalidPrompts(
            "plain text",
            f"{first.text.strip()[:40]!r} at {place(source, first.number, 1)}",
            "Save it as plain text: this is a web page, XML or RTF.",
        )
    if any(_SETTINGS.match(line.text) for line in lines()):
        return _parameters(lines(), source)
    if any(_RULE.fullmatch(line.text) or _label(line.text) not in ("", "name") for line in lines()):
        return _blocks(lines(), source)
    return _lines(lines(), source)


def _lines(lines: Iterator[Line], source: str) -> Iterator[Row]:
    for line in lines:
        text = line.text.strip()
        if not text or text.startswith("#"):
            continue
        if _OPTION.match(text):
            yield _options(line, source)
        else:
            yield Row(source, line.number, {"prompt": text})


def _parameters(lines: Iterator[Line], source: str) -> Iterator[Row]:
    texts: list[str] = []
    first = 0
    for line in lines:
        if not texts and not line.text.strip():
            continue
        first = first if texts else line.number
        texts.append(line.text)
        if _SETTINGS.match(line.text):
            yield Row(source, first, parameters_fields("".join(texts)))
            texts = []
    if texts:
        yield Row(source, first, parameters_fields("".join(texts)))


def _options(line: Line, source: str) -> Row:
    """A line such as `--prompt "a red circle" --seed 5`."""
    names: list[str] = []
    values: list[list[str]] = []
    columns: list[int] = []
    text = line.text
    at = _end(_BLANKS, text, 0)
    while at < len(text):
        if match := _OPTION.match(text, at):
            names.append(match[1])
            values.append([])
            columns.append(at + 1)
            at = _end(_BLANKS, text, match.end())
            continue
        match = _VALUE.match(text, at)
        if not match or match[0] in ("'", '"'):
            raise InvalidPrompts(
                "quotes in pairs, with a blank behind",
                f"{text[at : at + 30].strip()!r} at {place(source, line.number, at + 1)}",
                'Write it as "...", and quotes within as \\".',
            )
        quoted, single, plain = match.groups()
        values[-1].append(
            _ESCAPE.sub(r"\1", quoted) if quoted is not None else single or plain or ""
        )
        at = _end(_BLANKS, text, match.end())
    _check_options(names, values, line, source)
    kept = [k for k, name in enumerate(names) if normal(name) in SYNONYMS]
    names, values = [names[k] for k in kept], [values[k] for k in kept]
    columns = [columns[k] for k in kept]
    known = fields(names, lambda index: place(source, line.number, columns[index]))
    # Words without quotes belong together, as there.
    words = {field: " ".join(value) for field, value in zip(known, values, strict=True)}
    at_columns = zip(known, columns, strict=True)
    return Row(source, line.number, words, {name: (line.number, c) for name, c in at_columns})


def _check_options(names: list[str], values: list[list[str]], line: Line, source: str) -> None:
    """Refuse all options at once that mean nothing here, with where each belongs."""
    refused = []
    for name, value in zip(names, values, strict=True):
        if normal(name) in SYNONYMS or (normal(name) in _ONE_IS_NONE and value == ["1"]):
            continue
        near = get_close_matches(normal(name), SYNONYMS, 1, 0.8)
        belongs = _ELSEWHERE.get(normal(name)) or (f"did you mean --{near[0]}?" if near else "")
        refused.append(f"--{name}" + (f" ({belongs})" if belongs else ""))
    if refused:
        raise InvalidPrompts(
            "options for prompt, negative_prompt, seed, width, height, steps, cfg_scale, "
            "strength or image",
            f"{', '.join(refused)} at {place(source, line.number, 1)}",
            "Take these out of the line.",
        )


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _blocks(lines: Iterator[Line], source: str) -> Iterator[Row]:
    block = _Block(source)
    for line in lines:
        field = _label(line.text)
        if _RULE.fullmatch(line.text) or (field and block.is_done(field)):
            yield from block.rows()
            block = _Block(source)
        if field:
            block.start(field, line, line.text.index(":") + 1)
        elif not _RULE.fullmatch(line.text) and not line.text.lstrip().startswith("#"):
            block.add(line)
    yield from block.rows()


def _label(text: str) -> str:
    """The field that a line starts; empty for none."""
    match = _LABEL.match(text)
    return SYNONYMS.get(match[1].lower(), "name") if match else ""


class _Block:
    """A prompt of several lines, and its negative."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._texts: dict[str, list[str]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._field = "prompt"

    def is_done(self, field: str) -> bool:
        """Whether a label starts the next block: a positive after a positive, a name after all."""
        return field != "negative_prompt" and field in self._texts

    def start(self, field: str, line: Line, end: int) -> None:
        """Take what is behind the label, and if it is no name, the lines that follow."""
        if field in self._texts:
            raise InvalidPrompts(
                "one negative: a block",
                f"a second at {place(self._source, line.number, 1)}",
                "Put a line of three dashes between blocks.",
            )
        self._places[field] = (line.number, end + 1)
        self._texts[field] = [line.text[end:].strip()]
        if field != "name":
            self._field = field

    def add(self, line: Line) -> None:
        """Take a line; blank ones are left out, as elsewhere."""
        option = _OPTION.match(line.text.strip())
        if option and normal(option[1]) in SYNONYMS:
            raise InvalidPrompts(
                "either blocks or lines of options in one text",
                f"{option[0]} at {place(self._source, line.number, 1)}",
                "Write positive: and negative: there, or take the lines of dashes out.",
            )
        if line.text.strip():
            self._texts.setdefault(self._field, []).append(line.text.strip())
            self._places.setdefault(self._field, (line.number, 1))

    def rows(self) -> Iterator[Row]:
        """The row, unless the block is empty."""
        if self._texts:
            values = {field: "\n".join(filter(None, texts)) for field, texts in self._texts.items()}
            first = min(line for line, _ in self._places.values())
            yield Row(self._source, first, values, self._places)
