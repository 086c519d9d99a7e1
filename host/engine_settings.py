"""What an engine is asked for beside its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.numerics import Geometry


@dataclass(frozen=True)
class EngineSettings:
    """How one engine makes all its images.

    Attributes:
        rows: of one UNet call, as of `Geometry`; None follows the size of the images.
        vae_tile: as of `Geometry`.
        unrounded: whether images are wanted as decoded.
    """

    rows: int | None = None
    vae_tile: int | None = None
    unrounded: bool = False

    @property
    def geometry(self) -> Geometry | None:
        """What `Engine` takes by that name.

        Raises:
            InvalidRequest: a number is out of its range.
        """
        from ..core.numerics import Geometry

        return None if self.rows is None else Geometry(self.rows, self.vae_tile)
