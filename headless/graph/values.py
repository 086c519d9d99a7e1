"""Constants of a graph: from what a file or a person wrote to what a node is called with."""

from __future__ import annotations

from typing import Any

from ...core.errors import InvalidWorkflow
from .inputs import Input

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SAID = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}


def cast(item: Input, value: Any, where: str) -> Any:
    """The value as the type of its input, converted as ComfyUI does.

    Stricter in one place: a number with a fraction is not cut to a whole one.

    Args:
        item: the input.
        value: what the file says; text may hold integers that JSON in a browser cannot.
        where: the input and its node, for messages.

    Raises:
        InvalidWorkflow: it cannot be converted.
    """
    try:
        match item.kind:
            case "INT":
                number = int(value)
                if isinstance(value, float) and number != value:
                    raise ValueError
                return number
            case "FLOAT":
                return float(value)
            case "STRING":
                return str(value)
            case "BOOLEAN":
                return bool(value)
    except (TypeError, ValueError, OverflowError):
        raise _refused(_SAID[item.kind], value, where) from None
    return value


def from_text(item: Input, text: str, where: str) -> Any:
    """The value that a person typed for an input.

    Raises:
        InvalidWorkflow: it cannot be one of that input.
    """
    if item.kind == "BOOLEAN":
        if text.lower() not in _WORDS:
            raise _refused(_SAID["BOOLEAN"], text, where)
        return _WORDS[text.lower()]
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
                raise _refused("one of " + ", ".join(map(str, item.choices)), one, where)


def _refused(expected: str, value: Any, where: str) -> InvalidWorkflow:
    got = f'"{value}"' if isinstance(value, str) else str(value)
    return InvalidWorkflow(f"{expected} for {where}", got, "Correct that value.")
