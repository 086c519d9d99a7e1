"""Constants of a graph: from what a file or a person wrote to what a node is called with."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ...core.errors import InvalidWorkflow
from ...core.wording import meant
from .inputs import WIDGET_TYPES, Input

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SAID = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "STRING": "a text",
    "BOOLEAN": "true or false",
    "COMBO": "one choice",
}
_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def cast(item: Input, value: Any, where: str) -> Any:
    """The value as the type of its input, converted as ComfyUI does.

    Stricter where ComfyUI would take one thing for another: a number with a fraction is not cut to
    a whole one, the text "false" is not true, and neither null nor a list is a text.

    Args:
        item: the input.
        value: what the file says; text may hold integers that JSON in a browser cannot.
        where: the input and its node, for messages.

    Raises:
        InvalidWorkflow: it cannot be converted.
    """
    try:
        match item.kind:
            case "INT" if _is_number(value):
                return _whole(value)
            case "FLOAT" if _is_number(value):
                return _finite(value)
            case "STRING" if _is_number(value):
                return str(value)
            case "BOOLEAN" if isinstance(value, bool) or (_is_number(value) and value in (0, 1)):
                return bool(value)
            case "BOOLEAN" if isinstance(value, str):
                return _WORDS[value.strip().lower()]
            case "COMBO" if _may_be_choice(item, value):
                return value
            case kind if kind not in _SAID and (value is not None and not _needs_link(kind)):
                return value
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    said = _SAID.get(item.kind, f"a link to an output of type {item.kind}")
    raise _refused(said, value, where, _number_meant(item, value))


def from_text(item: Input, text: str, where: str) -> Any:
    """The value that a person typed for an input.

    Raises:
        InvalidWorkflow: it cannot be one of that input.
    """
    if item.kind == "COMBO":
        return next((choice for choice in item.choices if str(choice) == text), text)
    return cast(item, text, where)


def check_range(item: Input, value: Any, where: str) -> None:
    """Check a value against the input's limits or choices.

    Raises:
        InvalidWorkflow: it is outside of them.
    """
    options = item.options
    if item.kind in ("INT", "FLOAT"):
        if "min" in options and value < options["min"]:
            raise _refused(f"at least {options['min']}", value, where)
        if "max" in options and value > options["max"]:
            raise _refused(f"at most {options['max']}", value, where)
    if item.kind == "COMBO":
        picked = value if options.get("multiselect") and isinstance(value, list) else [value]
        for one in picked:
            if one not in item.choices:
                near = meant(str(one), map(str, item.choices))
                raise _refused("one of " + ", ".join(map(str, item.choices)), one, where, near)


def _whole(value: float | str) -> int:
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError
    return number


def _finite(value: float | str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _is_number(value: Any) -> bool:
    """Whether it is a number, or a text that may be one."""
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _may_be_choice(item: Input, value: Any) -> bool:
    # Where a list has no such text, the node may know more choices than its list.
    return isinstance(value, str) or value in item.choices or bool(item.options.get("multiselect"))


def _needs_link(kind: str) -> bool:
    parts = {part.strip() for part in kind.split(",")}
    return not parts & {"*", *WIDGET_TYPES}


def _number_meant(item: Input, value: Any) -> str:
    if item.kind == "FLOAT" and isinstance(value, str) and _COMMA.fullmatch(value):
        return f"Write a point, not a comma: {value.strip().replace(',', '.')}."
    return ""


def _refused(expected: str, value: Any, where: str, action: str = "") -> InvalidWorkflow:
    got = json.dumps(value, ensure_ascii=False, default=str)
    got = got if len(got) <= 200 else f"{got[:200]}…"
    return InvalidWorkflow(f"{expected} for {where}", got, action or "Correct that value.")
