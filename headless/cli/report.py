"""What a run has written, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.request.record import KEY, Record
from ...core.wording import counted
from ..graph.run import Failure, Ui

#: Characters of a prompt in the table, which may have 20,000.
PROMPT = 200


@dataclass(frozen=True)
class Saved:
    """A file, and what its image was made from where the node says so."""

    file: Path
    node_id: str
    row: Record | None


def saved(shown: Mapping[str, Ui], output: Path) -> list[Saved]:
    """The files that output nodes have written below a folder."""
    files = []
    for node_id, ui in shown.items():
        pictures = ui.get("images", [])
        rows: list[Record | None] = [Record.from_json(row, node_id) for row in ui.get(KEY, [])]
        rows = rows or [None] * len(pictures)
        for picture, row in zip(pictures, rows, strict=True):
            if picture["type"] == "output":
                file = output / picture["subfolder"] / picture["filename"]
                files.append(Saved(file, node_id, row))
    return files


def to_json(files: list[Saved], failures: Sequence[Failure] = ()) -> str:
    """One JSON object with all of them, and with the images that could not be made."""
    entries = [
        {"file": str(one.file), "node": one.node_id, "row": one.row and one.row.to_plain()}
        for one in files
    ]
    report: dict[str, Any] = {"files": entries}
    if failures:
        report["failed"] = [
            {"node": one.node_id, "row": one.row.to_plain(), "error": str(one.error)}
            for one in failures
        ]
    return json.dumps(report, ensure_ascii=False)


def to_table(files: list[Saved], console: Console) -> None:
    """Print file, seed and start of the prompt; one line a file where there is no terminal."""
    if not console.is_terminal:
        console.width = max([80, *(len(str(one)) for one in files)])
    table = Table("file", "seed", "prompt", box=None, pad_edge=False, header_style="bold")
    table.columns[0].overflow = table.columns[2].overflow = "fold"
    table.columns[1].no_wrap = True
    for one in files:
        request = one.row and one.row.request
        texts = (
            str(one.file),
            str(request.seed) if request else "",
            _start(request.prompt) if request else "",
        )
        # Text, not markup: prompts may hold brackets.
        table.add_row(*map(Text, texts))
    console.print(table if files else "No file was written.")
    rows = [one.row for one in files if one.row is not None]
    for numerics in dict.fromkeys(_in_words(row.numerics) for row in rows):
        console.print(Text(f"Made with {numerics}.", style="dim"))


def _start(prompt: str) -> str:
    """As much of a prompt as tells it from others; the file and `--json` have the whole."""
    return prompt if len(prompt) <= PROMPT else prompt[: PROMPT - 1].rstrip() + "…"


def _in_words(numerics: Mapping[str, Any]) -> str:
    told = dict(numerics)
    parts = [told.pop("device"), f"{told.pop('rows')} rows a call"]
    threads = told.pop("threads")
    parts += [counted(threads, "threads")] if threads else []
    parts += [told.pop("dtype"), f"VAE {told.pop('vae_dtype')}"]
    return ", ".join(parts + [f"{name} {value}" for name, value in told.items()])
