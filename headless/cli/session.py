"""One use of the command line: a host, a bar, and what comes out at the end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console

from ...core.errors import OutOfMemory
from ...core.saving.room import check_folder
from ...core.wording import counted
from ...host import host
from ...host.workers import ALL
from ..graph.catalog import Catalog, foreign, installed
from ..graph.check import Plan, check
from ..graph.convert import convert
from ..graph.graph import Graph
from ..graph.run import Run
from ..notes import leave
from . import report
from .bar import Bar
from .host import HeadlessHost
from .ladder import easier
from .stopping import Stopping

if TYPE_CHECKING:
    from ...cluster.cluster import Options


class Session:
    """Puts the command line in charge of the nodes within its block."""

    def __init__(
        self,
        folders: Sequence[Path],
        output: Path,
        as_json: bool,
        allowed: Sequence[Path],
        *,
        named: Collection[str] = (),
        download: bool = False,
        stores: bool = True,
        anew: bool = False,
        fits: bool = False,
        ray: Options | None = None,
    ) -> None:
        """Nothing happens before the block.

        Args:
            folders: where input files are looked up first.
            output: where images are written.
            as_json: whether stdout gets one JSON object and nothing else.
            allowed: more folders that input files may come from.
            named: what the person typed, which may be the path of a model anywhere.
            download: whether a workflow may have models fetched.
            stores: whether finished images are kept for later runs.
            anew: whether files are written once more that are there already.
            fits: whether images may have other bits where memory is too small for these.
            ray: the cluster that makes the images; None for this process.
        """
        self._output = output.absolute()
        self._folders = folders
        self._as_json = as_json
        self._allowed = [folder.resolve() for folder in allowed]
        self._named = named
        self._download = download
        self._stores = stores
        self._anew = anew
        self._fits = fits
        self._ray = ray
        self._stack = ExitStack()
        self._running: Run | None = None

    def __enter__(self) -> Session:
        """Take charge."""
        check_folder(self._output)
        self._bar = self._stack.enter_context(Bar(Console(stderr=True)))
        self._stopping = Stopping(self.tell)
        self._stack.enter_context(self._stopping.catching())
        self._host = HeadlessHost(
            self._folders,
            self._output,
            self._bar,
            self._allowed,
            named=self._named,
            download=self._download,
            stores=self._stores,
            anew=self._anew,
            stopping=self._stopping,
        )
        self._stack.enter_context(host.use(self._host))
        if self._ray is not None:
            self._start(self._ray)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._stack.close()
        if error is not None and self._running is not None:
            leave(error, self._left(len(self._running.written())))

    def _start(self, ray: Options) -> None:
        from ...cluster.cluster import RayCluster

        cluster = RayCluster(ray, self.tell, self._stopping.check)
        self._host.cluster = self._stack.enter_context(cluster)

    @cached_property
    def catalog(self) -> Catalog:
        """The nodes that can run; some ask the host what they offer."""
        return installed()

    def tell(self, text: str) -> None:
        """Say a line, on stderr."""
        self._bar.tell(text)

    def _left(self, files: int) -> str:
        """What is there of a run that did not end, and how to go on; empty for nothing."""
        if not files:
            return ""
        how = "without --anew " if self._anew else ""
        again = f"The same command {how}goes on from there: none of them is made again."
        return f"{counted(files, 'files')} in {self._output}. {again}"

    def produce(self, graph: Graph) -> int:
        """Check and run a graph, and say what was written.

        Returns:
            The exit code: 1 where images could not be made and were skipped.

        Raises:
            BatchSDXLError: the graph cannot run, or a node failed.
        """
        # A library that prints must not get between us and whoever reads the JSON.
        with redirect_stdout(sys.stderr):
            converted = convert(graph, self.catalog)
            for change in converted.changes:
                self.tell(f"Converted: {change}.")
            plan = check(converted.graph, self.catalog)
            if plan.left_out:
                told = foreign(plan.left_out)
                self.tell(f"Left out, as nothing that is saved needs them: {told}.")
            if self._host.cluster is None and _wants_all(plan):
                from ...cluster.cluster import Options

                self._start(Options())
            running = self._run(converted.graph, plan)
        files = report.saved(running.shown, self._output)
        if self._as_json:
            sys.stdout.write(report.to_json(files, running.failures) + "\n")
        else:
            self._stack.close()  # the bar is done
            report.to_table(files, Console())
        return 1 if running.failures else 0

    def _run(self, graph: Graph, plan: Plan) -> Run:
        """The run of a graph, or of an easier one where memory is too small for it."""
        while True:
            self._running = running = Run(plan, self.catalog)
            try:
                running.run()
                return running
            except OutOfMemory as error:
                way = self._easier(graph, running.at, error)
                if way is None:
                    raise
            graph, changed = way
            self.tell(f"Memory is too small. The run goes on: {changed}.")
            plan = check(graph, self.catalog)
            del running
            self._running = None  # and with it the model
            gc.collect()

    def _easier(self, graph: Graph, at: str, error: OutOfMemory) -> tuple[Graph, str] | None:
        if self._anew:  # what is finished would be written once more
            return None
        found = easier(graph, self.catalog, at, error, may_change_bits=self._fits)
        if found is None and any(not way.keeps_bits for way in error.ways) and not self._fits:
            self.tell(
                "With --fit-memory a run goes on by itself with tiles of the VAE, then with fewer "
                "rows per call; what it makes then may differ, and its files say so."
            )
        return found


def _wants_all(plan: Plan) -> bool:
    """Whether a node of the graph asks for all devices."""
    return any(plan.graph.nodes[one].inputs.get("devices") == ALL for one in plan.order)
