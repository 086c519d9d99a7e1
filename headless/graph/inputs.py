"""What a node class says about its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Types whose values a person can type or pick.
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
_EMPTY = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}


@dataclass(frozen=True)
class Input:
    """One input of a node class.

    Attributes:
        type: a type name, several joined by commas, or the list of a combo's choices.
        options: default, min, max and the like.
        required: whether the node cannot run without it.
    """

    name: str
    type: str | list[Any]
    options: Mapping[str, Any]
    required: bool

    @property
    def kind(self) -> str:
        """The type's name; a list of choices is a COMBO."""
        return self.type if isinstance(self.type, str) else "COMBO"

    @property
    def choices(self) -> Sequence[Any]:
        """What a combo offers."""
        return self.type if isinstance(self.type, list) else self.options.get("options", [])

    @property
    def is_widget(self) -> bool:
        """Whether a person can type or pick the value."""
        return self.kind in WIDGET_TYPES and not self.options.get("forceInput")

    @property
    def has_seed_control(self) -> bool:
        """Whether the editor adds a "control after generate" widget behind it."""
        named = self.name in ("seed", "noise_seed")
        return self.kind == "INT" and bool(self.options.get("control_after_generate", named))

    def default(self) -> Any:
        """The value of a fresh node in the editor; None if there is none."""
        if "default" in self.options:
            return self.options["default"]
        return self.choices[0] if self.choices else _EMPTY.get(self.kind)


def inputs_of(node_class: type[Any]) -> dict[str, Input]:
    """The inputs in the order of the editor: required ones, then optional ones."""
    declared: Mapping[str, Mapping[str, Sequence[Any]]] = node_class.INPUT_TYPES()
    return {
        name: Input(name, spec[0], spec[1] if len(spec) > 1 else {}, section == "required")
        for section in ("required", "optional")
        for name, spec in declared.get(section, {}).items()
    }


def hidden_of(node_class: type[Any]) -> dict[str, str]:
    """What the node wants to know of its run, as parameter name -> PROMPT, UNIQUE_ID, ..."""
    return dict(node_class.INPUT_TYPES().get("hidden", {}))


def outputs_of(node_class: type[Any]) -> tuple[Any, ...]:
    """The types of the outputs."""
    return tuple(node_class.RETURN_TYPES)


def fits(received: Any, wanted: Any) -> bool:
    """Whether an output of one type may be connected to an input of the other."""
    if received == wanted or (isinstance(received, list) and wanted == "COMBO"):
        return True
    if not (isinstance(received, str) and isinstance(wanted, str)):
        return False
    ours, theirs = ({part.strip() for part in kind.split(",")} for kind in (received, wanted))
    return "*" in ours | theirs or bool(ours & theirs)
