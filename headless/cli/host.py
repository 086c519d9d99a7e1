"""The command line as a host of nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InvalidWorkflow, ModelNotFound
from ...core.store.chosen import chosen_store
from ...core.store.store import ImageStore
from ...core.user_cache import user_cache
from ...core.wording import meant
from ...host.base import EXAMPLES, Host, ProgressDisplay
from ...host.paths import input_roots
from ...host.roots import resolve
from ...host.workers import ALL, check_ray
from .bar import Bar
from .stopping import Stopping

if TYPE_CHECKING:
    from ...cluster.cluster import RayCluster
    from ...core.engine.backend import Backend
    from ...core.engine.engine import Engine
    from ...core.models.model import Model
    from ...host.engine_settings import EngineSettings


class HeadlessHost(Host):
    """Reads beside the workflow, in the working directory and where allowed; shows a bar.

    A workflow may come from a stranger: its models, LoRAs and VAEs lie in those folders too, and
    nothing is downloaded for it unless a person says so.

    Attributes:
        cluster: whose workers make the images; None for this process.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        output: Path,
        bar: Bar,
        allowed: Sequence[Path] = (),
        *,
        named: Collection[str] = (),
        download: bool = False,
        stores: bool = True,
        anew: bool = False,
        stopping: Stopping | None = None,
    ) -> None:
        """Name the folders.

        Args:
            folders: looked up before the working directory.
            output: where results are written.
            bar: where progress is shown.
            allowed: looked up after all others.
            named: what the person typed: models of these names may lie anywhere, and be fetched.
            download: whether models that a workflow names may be fetched from the hub.
            stores: whether finished images are kept for later runs.
            anew: whether files are written once more that are there already.
            stopping: knows whether the person wants the run to end; None for nobody.
        """
        self.cluster: RayCluster | None = None
        self._folders = folders
        self._allowed = allowed
        self._output = output
        self._bar = bar
        self._named = named
        self._download = download
        self._stores = stores
        self._anew = anew
        self._stopping = stopping

    def input_folders(self) -> list[Path]:
        """The given folders, the working directory, the pack's examples, the allowed folders."""
        return list(dict.fromkeys([*self._folders, Path.cwd(), EXAMPLES, *self._allowed]))

    def output_folder(self) -> Path:
        """The given one."""
        return self._output

    def store(self) -> ImageStore | None:
        """The person's own, in the user's cache folder unless another was chosen."""
        return users_store() if self._stores else None

    @contextmanager
    def holding(
        self, model: Model | Backend, memory: int, *, elsewhere: bool = False
    ) -> Iterator[None]:
        """The time in which the first request to stop waits for the images that are nearly done."""
        with self._stopping.holding_on() if self._stopping else nullcontext():
            yield

    def check_cancelled(self) -> None:
        """Stop if the person asked for it.

        Raises:
            KeyboardInterrupt: so it is.
        """
        if self._stopping is not None:
            self._stopping.check()

    def placement(self) -> dict[str, Any]:
        """That of the cluster, if there is one."""
        return super().placement() if self.cluster is None else self.cluster.placement()

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings,
        *,
        devices: str,
        node_id: str,
    ) -> Engine:
        """That of the cluster, if there is one.

        Raises:
            InvalidWorkflow: the node asks for one, but could not say so before the run.
        """
        if self.cluster is not None:
            return self.cluster.engine(model, settings)
        if devices == ALL:
            raise InvalidWorkflow(
                "`devices` all as a value of Batch Generate",
                "one that is wired in, when the model was loaded",
                "Choose it in the node, or add --ray.",
            )
        return super().engine(model, settings, devices=devices, node_id=node_id)

    def check_devices(self, devices: str) -> None:
        """All that are there take Ray; `Session` starts it.

        Raises:
            MissingPackage: it is not installed.
        """
        if devices == ALL:
            check_ray()

    def completes_files(self) -> bool:
        """Unless another set was asked for."""
        return not self._anew

    def model_path(self, name: str) -> Path:
        """Where a model lies; a name of the hub where it may be, or is on this machine.

        Raises:
            ModelNotFound: neither the person nor the folders allow it.
        """
        from ...core.models.hub import find_cached, is_name

        path = self._own_path(name)
        if path is not None:
            return path
        if is_name(name):
            if self._download or find_cached(name) is not None:
                return Path(name)
            raise ModelNotFound(
                f"the model {name} on this machine",
                "a workflow that names it on the Hugging Face hub",
                "Add --download to fetch it from there.",
            )
        raise self._not_there("an SDXL model", name)

    def file_path(self, kind: str, name: str) -> Path:
        """Where a VAE, a LoRA or an embedding lies.

        Raises:
            ModelNotFound: as `model_path`.
        """
        path = self._own_path(name)
        if path is None:
            raise self._not_there(f"a file for {kind}", name)
        return path

    def tell(self, text: str, node_id: str) -> None:
        """A line above the bar."""
        self._bar.tell(text)

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> ProgressDisplay:
        """A line of the bar."""
        return self._bar.display(total_steps, total_images)

    def _own_path(self, name: str) -> Path | None:
        return Path(name).expanduser() if name in self._named else resolve(name, input_roots())

    def _not_there(self, what: str, name: str) -> ModelNotFound:
        roots = input_roots()
        names = (
            file.name for root in roots if root.is_dir() for file in root.glob("*.safetensors")
        )
        own = Path(name).name
        near = meant(own, (one for one in names if one != own))  # which may be a link to elsewhere
        return ModelNotFound(
            f"{what} below {' or '.join(map(str, roots))}",
            f'"{name}"',
            f"{near} Put it there, allow its folder with --allow DIR, or name it yourself "
            "with --set.".strip(),
        )


def users_store() -> ImageStore | None:
    """The store of the person at the command line, None where it is turned off."""
    return chosen_store(user_cache() / "store")
