"""The command `batch-sdxl convert`: a workflow of ComfyUI's own nodes -> one of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ...core.errors import OutputError
from ..graph import workflow
from ..graph.check import check
from ..graph.convert import convert
from .session import Session


def write(source: Path, target: Path | None) -> int:
    """Write the converted workflow in API format, which ComfyUI opens too, and tell what changed.

    Args:
        source: a workflow file, or a picture that one made.
        target: the new file; None names it after the source, in the working directory.

    Returns:
        The exit code, 0.

    Raises:
        InvalidWorkflow: some node means something that ours cannot.
        OutputError: there is such a file, or it cannot be written.
    """
    with Session([source.resolve().parent], Path("output"), False, []) as session:
        converted = convert(workflow.read(source, session.catalog), session.catalog)
        graph = check(converted.graph, session.catalog).graph
    if not converted.changes:
        sys.stdout.write(f"Nothing to convert: batch-sdxl run {source} runs it as it is.\n")
        return 0
    target = target or Path(f"{source.stem}_batch_sdxl.json")
    try:
        with target.open("x", encoding="utf-8") as file:
            json.dump(graph.api(), file, indent=1, ensure_ascii=False)
    except OSError as error:
        raise OutputError(
            "a new file to write the workflow to",
            f"{target} ({error.strerror})",
            "Name another one with --output.",
        ) from error
    sys.stdout.write("".join(f"- {change}\n" for change in converted.changes) + f"{target}\n")
    return 0
