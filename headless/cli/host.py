"""The command line as a host of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...host.host import EXAMPLES, Host, Progress
from .bar import Bar


class HeadlessHost(Host):
    """Reads beside the workflow, in the working directory and where allowed; shows a bar."""

    def __init__(
        self, folders: Sequence[Path], output: Path, bar: Bar, allowed: Sequence[Path] = ()
    ) -> None:
        """Name the folders.

        Args:
            folders: looked up before the working directory.
            output: where results are written.
            bar: where progress is shown.
            allowed: looked up after all others.
        """
        self._folders = folders
        self._allowed = allowed
        self._output = output
        self._bar = bar

    def input_folders(self) -> list[Path]:
        """The given folders, the working directory, the pack's examples, the allowed folders."""
        return list(dict.fromkeys([*self._folders, Path.cwd(), EXAMPLES, *self._allowed]))

    def output_folder(self) -> Path:
        """The given one."""
        return self._output

    def tell(self, text: str, node_id: str) -> None:
        """A line above the bar."""
        self._bar.tell(text)

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> Progress:
        """A line of the bar."""
        return self._bar.display(total_steps, total_images)
