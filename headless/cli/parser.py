"""How the arguments of a command are read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ...core.errors import InvalidRequest
from ...core.wording import brief, meant

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]


class Parser(argparse.ArgumentParser):
    """Names the option that was meant, beside what argparse says; takes each value once."""

    _given: Sequence[str] = ()

    def __init__(self, **how: Any) -> None:
        """As argparse's; it reads one command."""
        super().__init__(**how)
        self.values: dict[str, str] = {}
        for action in (None, "store"):
            self.register("action", action, Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remember what came."""
        if args is not None:
            self._given = args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong, and leave with code 2."""
        own = set(self._options())
        unknown = [
            name
            for name in (text.partition("=")[0] for text in self._given)
            if re.match("--[a-z]", name) and not any(one.startswith(name) for one in own)
        ]
        near = [f"{name}: {said}" for name in unknown if (said := meant(name, own))]
        super().error("\n".join([message, *near]))

    def _options(self) -> Iterator[str]:
        yield from self._option_string_actions
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._option_string_actions


class Once(argparse._StoreAction):
    """Keeps a value, as argparse does, but never in place of another one."""

    def __init__(self, *, several: str = "Leave one of them out.", **how: Any) -> None:
        """As argparse's.

        Args:
            several: what to do about more than one.
            **how: of argparse.
        """
        super().__init__(**how)
        self._several = several

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Take one.

        Raises:
            InvalidRequest: it is the second.
        """
        assert isinstance(parser, Parser)
        said = brief(str(values))
        if self.dest in parser.values:
            name = self.option_strings[0]
            raise InvalidRequest(
                f"one {name}", f"{parser.values[self.dest]} and {said}", self._several
            )
        parser.values[self.dest] = said
        super().__call__(parser, namespace, values, option_string)
