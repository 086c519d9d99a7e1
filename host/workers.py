"""Workers that make images on more than the host's own device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from ..core.errors import MissingPackage

if TYPE_CHECKING:
    from ..core.engine.backend import Backend
    from ..core.engine.engine import Engine
    from ..core.models.model import Model
    from .engine_settings import EngineSettings

#: Where images are made: on the host's own device, or by workers on all that there are.
ONE, ALL = DEVICES = ("one", "all")


class Workers(Protocol):
    """What a host asks of workers that stay from run to run."""

    def check(self) -> None:
        """See that they could be had.

        Raises:
            BatchSDXLError: something is missing, or set wrongly.
        """

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings,
        *,
        tell: Callable[[str], None],
        check: Callable[[], None],
    ) -> Engine:
        """An engine whose images they make.

        Args:
            model: as of `Host.engine`.
            settings: likewise.
            tell: says a line to the person.
            check: stops the run if the person asked for it.
        """

    def close(self) -> None:
        """End them, so that their devices are free; a later run starts others."""


def check_ray() -> None:
    """See that Ray is installed; it is not imported.

    Raises:
        MissingPackage: it is not.
    """
    if find_spec("ray") is None:
        # For this interpreter, which is ComfyUI's; by Ray's own name, since the pack may not be
        # installed. Without quotes, which ComfyUI would be shown others for.
        command = f"{sys.executable} -m pip install ray[default]"
        raise MissingPackage("the package ray", "none", f"Run {command} and restart.")
