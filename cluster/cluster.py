"""The connection to Ray: a cluster that is there, or one on this machine alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..core.errors import InvalidRequest, NoWorkers
from ..host.engine_settings import EngineSettings
from ..host.workers import check_ray
from .head import asked, knock, machines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from ..core.engine.backend import Backend
    from ..core.models.model import Model
    from .crew import Crew
    from .engine import ClusterEngine
    from .worker import Worker

#: The address of a Ray that is started on this machine, for one run.
LOCAL = "local"


@dataclass(frozen=True)
class Options:
    """What a person says of the cluster.

    Attributes:
        address: as `ray.init` takes it, such as `auto` or `ray-head:6379`.
        workers: how many; None for one a GPU, where there is none one a machine.
        cpus: of each worker; None shares them out where there is no GPU.
        any_numerics: whether workers whose numerics differ from the first's may take part.
        send_weights: whether the model's files are sent to each node; else it has its own.
    """

    address: str = LOCAL
    workers: int | None = None
    cpus: int | None = None
    any_numerics: bool = False
    send_weights: bool = False


class RayCluster:
    """Ray, within its block."""

    def __init__(
        self,
        options: Options,
        tell: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
        *,
        kind: type[Worker] | None = None,
        **limits: float,
    ) -> None:
        """Nothing is started yet.

        Args:
            options: of the person.
            tell: says a line to the person.
            check: stops the run if the person asked for it.
            kind: of worker, where it is not the usual one.
            **limits: of `pace.Limits`, in place of the usual.
        """
        self._options = options
        self._tell = tell
        self._kind = kind
        self._limits = limits
        self._crew: Crew | None = None
        self._lines: Any = None
        self._owns = False
        self.check = check

    def __enter__(self) -> RayCluster:
        """Connect.

        Raises:
            MissingPackage: there is no `ray`.
            NoWorkers: there is no cluster at that address.
        """
        # Nobody is told of what is run here; and nobody waits for it less than for other programs.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")
        check_ray()
        import ray

        if not ray.is_initialized():
            with _own_signals():
                self._connect(ray)
            self._owns = True
        self._has_gpus = bool(asked(ray.cluster_resources).get("GPU"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers, and Ray if it was started here."""
        import ray

        self.close_crew()
        if self._owns:
            ray.shutdown()

    def placement(self) -> dict[str, Any]:
        """What `load_model` is told here: the workers' device, and to read no weights."""
        return {"device": "cuda" if self._has_gpus else "cpu", "home": "meta"}

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings | None = None,
    ) -> ClusterEngine:
        """An engine whose images the workers make; see `ClusterEngine`.

        Raises:
            InvalidRequest: it is another program's model.
        """
        from ..core.models.model import Model
        from .engine import ClusterEngine

        if not isinstance(model, Model):
            raise InvalidRequest(
                "a model of Load SDXL, which workers can load too",
                f"one of another program, {type(model).__name__}",
                "Load it by Load SDXL, or run without workers.",
            )
        return ClusterEngine(model, self, settings or EngineSettings())

    def crew(self, model: Any) -> Crew:
        """The workers with a `Model`; one crew is there at a time, since it fills the GPUs."""
        from .crew import Crew
        from .lines import Lines
        from .pace import Limits
        from .worker import Worker

        orders = self._orders(model)
        if self._crew is not None:
            if (self._crew.orders.spec, self._crew.orders.digest) == (orders.spec, orders.digest):
                return self._crew
            self.close_crew()
        cpus = self._cpus()
        lines = Lines(
            threads=None if self._has_gpus else cpus,
            gpus=int(self._has_gpus),
            cpus=cpus,
            kind=self._kind or Worker,
        )
        self._crew = Crew(lines, orders, self._number, self._tell, limits=Limits(**self._limits))
        return self._crew

    def close_crew(self) -> None:
        """End the workers; when they are needed, others are started."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def answers(self) -> bool:
        """Whether the cluster is still there."""
        import ray

        try:
            asked(ray.cluster_resources)
        except NoWorkers:
            return False
        return True

    def renew(self) -> None:
        """Start anew where workers were left out: what was wrong may be right by now."""
        if self._crew is not None and not self._crew.is_whole:
            self.close_crew()

    def put(self, value: Any) -> Any:
        """Keep a value in the object store, and refer to it."""
        import ray

        return ray.put(value)

    def _connect(self, ray: Any) -> None:
        import logging

        usual = {"logging_level": logging.ERROR, "log_to_driver": False}
        if self._options.address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **usual)
            return
        try:
            knock(self._options.address)
            ray.init(address=self._options.address, **usual)
        except (OSError, RuntimeError, ValueError) as error:
            raise NoWorkers(
                f"a Ray cluster at {self._options.address}",
                str(error).partition("\n")[0] or type(error).__name__,
                "See that it runs (ray status), and that this machine may reach it.",
            ) from error

    def _orders(self, model: Model) -> Any:
        from ..core.models.attention import attention_of
        from .hand import Orders
        from .weights import pack
        from .worker import Precision

        attention = attention_of(model.unet, model.vae, model.text_encoders)
        vae_dtype: torch.dtype = model.vae.dtype
        return Orders(
            Precision(str(model.device), model.dtype, vae_dtype, attention),
            model.spec,
            model.digest,
            __version__,
            (lambda: pack(model, self.put)) if self._options.send_weights else None,
            self._options.any_numerics,
        )

    def _number(self) -> int:
        """Workers that there should be now."""
        import ray

        there = asked(ray.cluster_resources)  # so that nobody is called where no head is
        if self._options.workers is not None:
            return self._options.workers
        if self._has_gpus:
            return int(there.get("GPU", 0))
        return len(machines())

    def _cpus(self) -> int:
        """CPUs of one worker."""
        if self._options.cpus is not None:
            return self._options.cpus
        if self._has_gpus:
            return 1
        there = machines()
        each = -(-self._number() // len(there))
        return max(1, int(min(there)) // each)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Signals stay ours: within the block, Ray takes one to end the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread, where Ray takes none
            signal.signal(signal.SIGTERM, before)
