"""Where files may come from and go to: below the host's folders and nowhere else.

`resolve` is the one way from a name that a workflow gives to a file that is read. Workflows are
handed around, so their names are not to be trusted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from ..core.errors import InvalidImage, OutputError
from ..core.wording import meant
from . import host
from .roots import checked_name, is_below, resolve, with_home

#: Further folders that files may come from, as the PATH of the system is written. For whoever
#: starts the program: a workflow cannot set it.
ALLOWED_VARIABLE = "BATCH_SDXL_INPUT_DIRS"

_HOW_TO_ALLOW = (
    "Whoever starts the program can allow more folders: with --allow DIR on the command line, or "
    f"with {ALLOWED_VARIABLE} in its environment."
)

#: Half of a sign, with which no file can say its name.
_HALF = re.compile("[\ud800-\udfff]")
_MAGIC = re.compile(r"[*?\[]")


def input_roots() -> list[Path]:
    """Folders that input files may lie in, resolved, in the order they are searched.

    Raises:
        InvalidImage: one of `BATCH_SDXL_INPUT_DIRS` is not absolute.
    """
    allowed = [
        Path(part) for part in os.environ.get(ALLOWED_VARIABLE, "").split(os.pathsep) if part
    ]
    for folder in allowed:
        if not folder.is_absolute():
            raise InvalidImage(
                f"absolute folders in the environment variable {ALLOWED_VARIABLE}",
                repr(str(folder)),
                "Write it from the root on.",
            )
    return list(
        dict.fromkeys(folder.resolve() for folder in [*host.current().input_folders(), *allowed])
    )


def check_below(files: Iterable[Path], roots: Sequence[Path]) -> None:
    """Refuse files found in a folder that are links to elsewhere.

    Raises:
        InvalidImage: one is; the message names it.
    """
    for file in files:
        if not is_below(file, roots):
            raise InvalidImage(
                f"files that lie below {_listed(roots)}",
                f"{file}, a link that leads elsewhere",
                _HOW_TO_ALLOW,
            )


def find_input(name: str, roots: list[Path] | None = None) -> Path:
    """The file or folder of that name below one of the folders that files may come from.

    Args:
        name: as `resolve` takes it.
        roots: folders to look in instead of the host's, in this order.

    Raises:
        InvalidImage: there is none; the message names the folders.
    """
    roots = input_roots() if roots is None else roots
    path = resolve(name, roots)
    if path is None:
        raise _nothing(name, roots)
    return path


def find_matches(pattern: str, roots: list[Path] | None = None) -> tuple[Path, list[Path]]:
    """The files of a pattern: `*`, `?`, `[...]`, and `**` for folders of any depth.

    Args:
        pattern: as `resolve` takes a name.
        roots: as for `find_input`.

    Returns:
        The first root where anything matches, and what does, in no order.

    Raises:
        InvalidImage: nothing matches, or a match is a link that leads out of all roots.
    """
    roots = [root.resolve() for root in (input_roots() if roots is None else roots)]
    checked = checked_name(with_home(pattern))
    if checked is None:
        raise _nothing(pattern, roots)
    for root in roots:
        inside = Path(checked)
        if inside.is_absolute():
            if not inside.is_relative_to(root):
                continue
            inside = inside.relative_to(root)
        try:
            # Two `**` can reach a file in several ways.
            matches = list(dict.fromkeys(_matches(root, inside.parts, roots)))
        except OSError:  # too long a name, or a folder that cannot be read
            continue
        if matches:
            check_below(matches, roots)
            return root, matches
    raise _nothing(pattern, roots)


def _matches(folder: Path, parts: Sequence[str], roots: Sequence[Path]) -> Iterator[Path]:
    """Files below a folder by a pattern's parts; hidden ones only where a part starts with a dot.

    Not pathlib's glob, whose `**` differs between Pythons. Folders outside the roots are refused
    before they are listed: not even the names in them are told.
    """
    if not parts or not folder.is_dir():
        return
    check_below([folder], roots)
    part, *others = parts
    while part == "**" and others[:1] == ["**"]:
        others = others[1:]
    if not _MAGIC.search(part):
        path = folder / part
        if others:
            yield from _matches(path, others, roots)
        elif path.is_file():
            yield path
    else:
        yield from _matches_in(folder, part, others, roots)


def _matches_in(
    folder: Path, part: str, others: Sequence[str], roots: Sequence[Path]
) -> Iterator[Path]:
    """Those by a part that may match several names."""
    with os.scandir(folder) as entries:
        found = [e for e in entries if not e.name.startswith(".") or part.startswith(".")]
    if part == "**":
        yield from _matches(folder, others or ["*"], roots)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):  # links could lead in a circle
                yield from _matches(Path(entry.path), [part, *others], roots)
        return
    for entry in found:
        if fnmatch(entry.name, part):
            if others:
                yield from _matches(Path(entry.path), others, roots)
            elif not entry.is_dir():
                yield Path(entry.path)


def _nothing(name: str, roots: Sequence[Path]) -> InvalidImage:
    action = _near(name, roots) or "Put the file there, or correct its name."
    if _seems_outside(name, roots):
        action += f" {_HOW_TO_ALLOW}"
    written = json.dumps(name, ensure_ascii=False)
    return InvalidImage(f"a file or folder below {_listed(roots)}", written, action)


def _near(name: str, roots: Sequence[Path]) -> str:
    """The file that was meant, of those in the folder below a root that the name says."""
    path = Path(checked_name(name) or "")
    for root in roots:
        with suppress(OSError, ValueError, RuntimeError):
            folder = (root / path).parent
            if is_below(folder, [root.resolve()]):
                names = sorted(one.name for one in folder.iterdir() if one.name[0] != ".")
                if said := meant(path.name, names):
                    return said
    return ""


def _seems_outside(name: str, roots: Sequence[Path]) -> bool:
    """Whether a name is absolute or goes through a link, whatever lies there: that is not told."""
    path = Path(checked_name(name) or "")
    with suppress(OSError, ValueError):
        ways = [path, *path.parents]
        return path.is_absolute() or any(
            (root / way).is_symlink() for root in roots for way in ways
        )
    return False


def _listed(roots: Sequence[Path]) -> str:
    return " or ".join(map(str, roots))


def place_output(prefix: str) -> tuple[Path, str]:
    """The folder below the host's output folder, and the start of the names, that a prefix means.

    Args:
        prefix: relative, such as `batch` or `portraits/batch`.

    Raises:
        OutputError: it leads out of the output folder, or names no file.
    """
    root = host.current().output_folder().resolve()
    refused = OutputError(
        f"a filename_prefix that stays below {root}", repr(prefix), "Write for example: batch."
    )
    name = checked_name(prefix)
    if name is None or name.endswith("/") or _HALF.search(name):
        raise refused
    path = (root / name).resolve()
    if path == root or not path.is_relative_to(root):
        raise refused
    return path.parent, path.name


def ui_entry(file: Path) -> dict[str, str]:
    """What ComfyUI wants to know of a file below the output folder, to show it."""
    root = host.current().output_folder().resolve()
    subfolder = file.parent.relative_to(root).as_posix().removeprefix(".")
    return {"filename": file.name, "subfolder": subfolder, "type": "output"}
