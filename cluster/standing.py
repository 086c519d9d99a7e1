"""Workers that stay from run to run, for a program that lives longer than one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import InvalidRequest
from ..host.workers import check_ray
from .cluster import LOCAL, Options, RayCluster

if TYPE_CHECKING:
    from ..core.engine.backend import Backend
    from ..core.models.model import Model
    from ..host.engine_settings import EngineSettings
    from .engine import ClusterEngine

#: Environment variables of the server: the cluster's address; how many workers, and CPUs of each.
#: No graph may say them, since whoever has a cluster's address can run any program there.
ADDRESS, WORKERS, CPUS = "BATCH_SDXL_RAY", "BATCH_SDXL_RAY_WORKERS", "BATCH_SDXL_RAY_CPUS"

#: Of Ray's, seconds after which it ends a process whose cluster has left: it is not Ray's to end.
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"

_log = logging.getLogger("batch_sdxl")


class StandingWorkers:
    """`Workers` of Ray, started by the first run that asks for them."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._cluster: RayCluster | None = None
        self._tell: Callable[[str], None] = _log.info

    def check(self) -> None:
        """See that they could be had.

        Raises:
            MissingPackage: Ray is not installed.
            InvalidRequest: an environment variable is not as it must be.
        """
        check_ray()
        _options()

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings,
        *,
        tell: Callable[[str], None],
        check: Callable[[], None],
    ) -> ClusterEngine:
        """An engine whose images they make, the same workers as in the run before if they can.

        Raises:
            InvalidRequest: it is another program's model.
            NoWorkers: there is no cluster at the address.
        """
        self._tell = tell
        if self._cluster is not None and not self._cluster.answers():
            self._cluster.__exit__(None, None, None)
            self._cluster = None
        cluster = self._cluster or RayCluster(_options(), self._say)
        cluster.check = check
        engine = cluster.engine(model, settings)
        if self._cluster is None:
            os.environ.setdefault(_RECONNECT, str(10**9))
            tell("Ray starts." if _options().address == LOCAL else "The cluster is called.")
            self._cluster = cluster.__enter__()
        cluster.renew()
        return engine

    def close(self) -> None:
        """End the workers; Ray itself takes no GPU, and stays."""
        if self._cluster is not None:
            self._cluster.close_crew()

    def _say(self, text: str) -> None:
        _log.info(text)
        self._tell(text)


def _options() -> Options:
    return Options(os.environ.get(ADDRESS) or LOCAL, workers=_count(WORKERS), cpus=_count(CPUS))


def _count(name: str) -> int | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise InvalidRequest(f"a number from 1 in {name}", repr(text), "Write for example 2.")
    return int(text)
