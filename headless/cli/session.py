"""One use of the command line: a host, a bar, and what comes out at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from functools import cached_property
from pathlib import Path
from types import TracebackType

from rich.console import Console

from ...host import host
from ..graph.catalog import Catalog, installed
from ..graph.check import check
from ..graph.graph import Graph
from ..graph.run import run
from ..notes import note
from . import report
from .bar import Bar
from .host import HeadlessHost


class Session:
    """Puts the command line in charge of the nodes within its block."""

    def __init__(
        self, folders: Sequence[Path], output: Path, as_json: bool, allowed: Sequence[Path]
    ) -> None:
        """Nothing happens before the block.

        Args:
            folders: where input files are looked up first.
            output: where images are written.
            as_json: whether stdout gets one JSON object and nothing else.
            allowed: more folders that input files may come from.
        """
        self._output = output.absolute()
        self._folders = folders
        self._as_json = as_json
        self._allowed = [folder.resolve() for folder in allowed]
        self._stack = ExitStack()

    def __enter__(self) -> Session:
        """Take charge."""
        bar = self._stack.enter_context(Bar(Console(stderr=True)))
        self._stack.enter_context(
            host.use(HeadlessHost(self._folders, self._output, bar, self._allowed))
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._stack.close()
        if isinstance(error, KeyboardInterrupt):
            note(error, f"Finished files stay in {self._output}.")

    @cached_property
    def catalog(self) -> Catalog:
        """The nodes that can run; some ask the host what they offer."""
        return installed()

    def produce(self, graph: Graph) -> None:
        """Check and run a graph, and say what was written.

        Raises:
            BatchSDXLError: the graph cannot run, or a node failed.
        """
        # A library that prints must not get between us and whoever reads the JSON.
        with redirect_stdout(sys.stderr):
            shown = run(check(graph, self.catalog), self.catalog)
        files = report.saved(shown, self._output)
        if self._as_json:
            sys.stdout.write(report.to_json(files) + "\n")
        else:
            self._stack.close()  # the bar is done
            report.to_table(files, Console())
