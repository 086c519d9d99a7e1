"""What `--prompts` names: a file or folder, or the text of the prompts itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import InvalidPrompts
from ...core.prompts.files import SUFFIXES, read_rows
from ...core.prompts.plain_text import text_rows
from ...core.prompts.prompt_list import compose
from ...core.prompts.rows import Row
from ...core.prompts.text_files import text_lines

#: Endings that make any text a name of a file: ours, and others that prompts are kept in.
_ENDINGS = (*SUFFIXES, ".xls", ".ods", ".docx", ".md", ".toml", ".caption")

#: One word with a separator, or with an ending of any kind.
_NAME = re.compile(r"[^\s,()]*[/\\][^\s,()]*|[^\s,()]*\w\.[A-Za-z][A-Za-z0-9]{1,5}")


def find(given: str) -> Path | None:
    """The file or folder that a text names; None for prompts.

    A text is a name if it exists, ends as files of prompts do, or is one word with a separator or
    an ending.

    Raises:
        InvalidPrompts: it is a name, and nothing is there.
    """
    if "\n" in given or not given.strip():
        return None
    try:
        path = Path(given).expanduser()
        if path.exists():
            return path.resolve()
    except (OSError, ValueError, RuntimeError):  # too long for a name
        return None
    is_name = given.lower().endswith(_ENDINGS) or _NAME.fullmatch(given)
    if is_name and not given.startswith("--"):
        raise InvalidPrompts(
            "a file or folder of prompts, or their text",
            f"{given!r}, which is not there",
            "Correct its name; a text that looks like a name needs a line break behind it.",
        )
    return None


def said(given: str, path: Path | None) -> str:
    """What it was taken for, as one line."""
    if path is None:
        words = " ".join(given.split())
        return f"Prompts: the text {words if len(words) <= 60 else words[:59] + '…'!r}"
    return f"Prompts: the {'folder' if path.is_dir() else 'file'} {path}"


def require_seeds(given: str, path: Path | None, on_error: str) -> None:
    """Refuse prompts of which one has no seed of its own, once all can be prompts at all.

    Raises:
        InvalidPrompts: one has none, or they cannot be read.
    """
    rows = (
        text_rows(lambda: text_lines(given)) if path is None else read_rows(path, on_error, _silent)
    )
    places: list[str] = []

    def placed() -> Iterator[Row]:
        for row in rows:
            places.append(row.place())
            yield row

    # Of each prompt, the row that came last; headings become none.
    without = [places[-1] for one in compose(placed(), tell=_silent) if "seed" not in one.settings]
    if without:
        raise InvalidPrompts(
            "--seeds, or a seed in each row of the prompts",
            f"neither for {without[0]}",
            "Add for example: --seeds 1..4",
        )


def _silent(line: str) -> None:
    """Told again when it runs."""


def below_roots(*paths: Path) -> tuple[list[Path], list[str]]:
    """The folders to look in for files, and the names that find them there and nothing else.

    Names are as short as can be, since they are written into the images' files.
    """
    roots = list(dict.fromkeys(path.parent for path in paths))
    if any((root / path.name).exists() for path in paths for root in roots if root != path.parent):
        roots = [Path(os.path.commonpath(roots))]
        return roots, [f"./{path.relative_to(roots[0]).as_posix()}" for path in paths]
    return roots, [f"./{path.name}" for path in paths]
