"""YAML -> its nodes, and lists of prompts in it -> rows.

A file holds a list, or a mapping with a list called `prompts`; an entry is a prompt or a mapping of
fields. All values are taken as text, as they are written: `no` stays a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import InvalidPrompts
from .json_file import entry_row
from .rows import Row, place
from .text_files import Line

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped]

MAX_DEPTH = 50


def yaml_rows(lines: Iterable[Line], source: str) -> Iterator[Row]:
    """A row of each entry.

    Raises:
        InvalidPrompts: it is not YAML, or no list of prompts; the message names its place.
    """
    root = compose(lines, source)
    if root is None:
        return
    entries = root
    if root.id == "mapping":
        lists = [value for key, value in root.value if key.value == "prompts"]
        entries = lists[0] if lists else None
    if entries is None or entries.id != "sequence":
        raise InvalidPrompts(
            "a list of prompts", f"none at {node_place(source, root)}", "Write:  - a red circle"
        )
    for node in entries.value:
        yield _row(node, source)


def _row(node: yaml.Node, source: str) -> Row:
    line = node.start_mark.line + 1
    if node.id == "scalar":
        return entry_row(node.value, source, line)
    pairs = node.value if node.id == "mapping" else [(node, node)]
    for key, value in pairs:
        if key.id != "scalar" or value.id != "scalar":
            raise InvalidPrompts(
                "prompts, or mappings of names to texts and numbers",
                f"more within an entry at {node_place(source, node)}",
                "Write for example:  - {prompt: a red circle, seed: 5}",
            )
    entry = {
        key.value: None if value.tag.endswith(":null") else value.value for key, value in pairs
    }
    if len(entry) < len(pairs):
        raise InvalidPrompts(
            "each name once in an entry", f"one twice at {node_place(source, node)}", "Keep one."
        )
    return entry_row(entry, source, line)


def compose(lines: Iterable[Line], source: str) -> yaml.Node | None:
    """The node at the top of a document; None if it is empty.

    Raises:
        InvalidPrompts: it is not YAML, has references, or more than `MAX_DEPTH` lists and mappings
            within each other.
    """
    import yaml

    text = "".join(line.text for line in lines)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        # Composing goes as deep as the text does, and in C nothing stops it there.
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            where = place(source, event.start_mark.line + 1, event.start_mark.column + 1)
            if depth > MAX_DEPTH:
                raise InvalidPrompts(
                    f"at most {MAX_DEPTH} lists and mappings within each other",
                    f"more at {where}",
                    "Correct that place.",
                )
            if isinstance(event, yaml.AliasEvent):
                raise InvalidPrompts(
                    "YAML without references",
                    f"the reference *{event.anchor} at {where}",
                    "Write what it stands for.",
                )
        return yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = source if mark is None else place(source, mark.line + 1, mark.column + 1)
        raise InvalidPrompts(
            "YAML",
            f"{where}, {getattr(error, 'problem', None) or 'which is not YAML'}",
            "Correct that place; texts with { or : in them need quotes.",
        ) from None


def node_place(source: str, node: yaml.Node) -> str:
    """Where a node starts: file:line:column."""
    return place(source, node.start_mark.line + 1, node.start_mark.column + 1)
