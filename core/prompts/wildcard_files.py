"""Wildcard files -> values by name.

`animal.txt`            the wildcard `animal`: a value a line, `#` starts a comment line
`nature/animal.txt`     the wildcard `nature/animal`
`any.yaml`              keys are names (`nature:` over `animal:` is `nature/animal`), lists are
                        values; the file's own name does not matter, its folder does

A value may have a weight (`3::tabby cat`) and hold choices in turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidPrompts
from .text_files import text_file
from .variants import Choice, Wildcard, parse_option
from .yaml_file import compose, node_place

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped]

SUFFIXES = (".txt", ".yaml", ".yml")

#: Values as written, with the file and line of each.
Values = list[tuple[str, str]]


class WildcardFiles:
    """The wildcards of some folders. Each is read once, when it is first asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Nothing is read yet.

        Args:
            folders: searched with their subfolders; a name is taken from the first that has it.
        """
        self._folders = [folder.resolve() for folder in folders]
        self._index: dict[str, Path | Values] | None = None
        self._values: dict[str, Choice] = {}
        self._digests: dict[str, str] = {}

    def names(self) -> list[str]:
        """The names of all wildcards, sorted, in lower case."""
        return sorted(self._names())

    def values(self, wildcard: Wildcard, where: str) -> Choice:
        """The values of a wildcard, those of all that fit where its name holds `*`.

        Args:
            wildcard: in whatever case.
            where: the text that names it, for messages.

        Raises:
            InvalidPrompts: there is no such wildcard, it is empty, or it cannot be read.
        """
        name = wildcard.name.casefold()
        if name not in self._values:
            found = self._found(name)
            if not found:
                raise self._missing(wildcard, where)
            lines = [line for one in found for line in self._lines(one)]
            self._values[name] = _choice(name, lines)
            content = "\0".join(value for value, _ in lines).encode()
            self._digests[name] = hashlib.sha256(content).hexdigest()
        return self._values[name]

    def digest(self) -> str:
        """SHA-256 over names and values of what was asked for so far."""
        return hashlib.sha256(repr(sorted(self._digests.items())).encode()).hexdigest()

    def _found(self, name: str) -> list[str]:
        if "*" not in name:
            return [name] if name in self._names() else []
        pattern = "".join(
            {"**": ".*", "*": "[^/]*"}.get(part, re.escape(part))
            for part in re.split(r"(\*\*|\*)", name)
        )
        return [one for one in self.names() if re.fullmatch(pattern, one)]

    def _lines(self, name: str) -> Values:
        source = self._names()[name]
        return list(_text_values(source)) if isinstance(source, Path) else source

    def _names(self) -> dict[str, Path | Values]:
        if self._index is None:
            index: dict[str, Path | Values] = {}
            for folder in self._folders:
                index = _index(folder) | index
            self._index = index
        return self._index

    def _missing(self, wildcard: Wildcard, where: str) -> InvalidPrompts:
        folders = " or ".join(map(str, self._folders)) or "a folder wildcards of the input folders"
        near = get_close_matches(wildcard.name.casefold(), self.names(), 1)
        return InvalidPrompts(
            f"a file {wildcard.name}.txt, or a .yaml file with that key, below {folders}",
            f"none for __{wildcard.name}__ at character {wildcard.at + 1} of {where}",
            f"Did you mean __{near[0]}__?"
            if near
            else rf"Add the file, or write \__{wildcard.name}\__ for the plain text.",
        )


def _index(folder: Path) -> dict[str, Path | Values]:
    """Where the values of each wildcard of a folder are: a text file, or read from YAML."""
    index: dict[str, Path | Values] = {}
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        # Links may not lead out of the folder.
        is_own = path.is_file() and path.resolve().is_relative_to(folder)
        if suffix not in SUFFIXES or not is_own:
            continue
        inner = path.relative_to(folder)
        if suffix == ".txt":
            new: dict[str, Path | Values] = {inner.with_suffix("").as_posix().casefold(): path}
        else:
            new = {}
            for name, value in _yaml_values(path, inner):
                values = new.setdefault((inner.parent / name).as_posix().casefold(), [])
                assert isinstance(values, list)
                values.append(value)
        for name in new.keys() & index.keys():
            raise InvalidPrompts(
                f"each wildcard once in {folder}",
                f"__{name}__ in {_origin(index[name], folder)} and in {_origin(new[name], folder)}",
                "Rename one of them.",
            )
        index |= new
    return index


def _origin(source: Path | Values, folder: Path) -> str:
    if isinstance(source, Path):
        return source.relative_to(folder).as_posix()
    return source[0][1]


def _text_values(path: Path) -> Iterator[tuple[str, str]]:
    for line in text_file(path)():
        value = line.text.strip()
        if value and not value.startswith("#"):
            yield value, f"{path.name}:{line.number}"


def _yaml_values(path: Path, inner: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name and value of each text in lists below keys."""
    source = inner.as_posix()
    root = compose(text_file(path)(), source)
    return iter(()) if root is None else _below(root, (), source)


def _below(
    node: yaml.Node, names: tuple[str, ...], source: str
) -> Iterator[tuple[str, tuple[str, str]]]:
    """What is in a mapping of keys to texts, lists of texts, and mappings in turn."""
    if node.id != "mapping":
        kind = "a list alone" if node.id == "sequence" else "a single text"
        raise _not_a_list(source, node, kind)
    for key, value in node.value:
        if key.id != "scalar":
            raise _not_a_list(source, key, "a key of keys")
        path = (*names, key.value.strip("/ "))
        if value.id == "mapping":
            yield from _below(value, path, source)
            continue
        for one in value.value if value.id == "sequence" else [value]:
            if one.id != "scalar":
                kind = "keys in a list" if one.id == "mapping" else "a list within a list"
                raise _not_a_list(source, one, kind)
            for line in one.value.splitlines():
                if line.strip():
                    where = f"{source}:{one.start_mark.line + 1}"
                    yield "/".join(path), (line.strip(), where)


def _not_a_list(source: str, node: yaml.Node, got: str) -> InvalidPrompts:
    return InvalidPrompts(
        "keys with lists of texts",
        f"{got} at {node_place(source, node)}",
        "Write for example:  animal: [cat, dog]",
    )


def _choice(name: str, values: Values) -> Choice:
    """The values as one choice; what a weight of 0 turns off is left out."""
    options = [parse_option(value, place) for value, place in values]
    options = [(weight, text) for weight, text in options if weight]
    if not options:
        raise InvalidPrompts(
            f"values in the wildcard __{name}__", "none", "Write one a line in its file."
        )
    weights, texts = zip(*options, strict=True)
    return Choice(texts, weights)
