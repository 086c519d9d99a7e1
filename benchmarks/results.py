"""What was measured: a line of JSON as soon as it is known, and tables of all of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    """Keeps rows of measurements in a folder, so that a run that is killed has lost nothing.

    `results.jsonl` has a line a row; `table.md` a table a part, written anew with every row.
    """

    def __init__(self, folder: Path, heading: str) -> None:
        """Start the two files.

        Args:
            folder: made if it is not there; results of before are written over.
            heading: what the tables are of.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.parts: dict[str, list[Row]] = {}
        self._heading = heading
        (folder / "results.jsonl").write_text("", "utf-8")

    def add(self, part: str, /, **values: Any) -> None:
        """Note a row, and print it."""
        self.parts.setdefault(part, []).append(values)
        line = json.dumps({"part": part, **values}, default=str)
        with (self.folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        (self.folder / "table.md").write_text(self.markdown(), "utf-8")
        print(f"{part}: " + ", ".join(f"{k} {_cell(v)}" for k, v in values.items()), flush=True)

    def markdown(self) -> str:
        """All tables."""
        parts = [f"## {part}\n\n{table(rows)}" for part, rows in self.parts.items()]
        return f"# {self._heading}\n\n" + "\n".join(parts)


def table(rows: list[Row]) -> str:
    """Rows as a table in Markdown; its columns are all their names, as they come."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row.get(name)) for name in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    return str(value).replace("|", "/").replace("\n", " ")
