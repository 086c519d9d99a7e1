"""One image after the other on its way from the node that makes it to the one that writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from ...host.image_batches import as_tensor
from ...host.types import Takes

if TYPE_CHECKING:
    import torch

    from ...core.request.record import Record

    Step = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Flow:
    """Images on their way to a node that takes them one by one.

    Attributes:
        node_id: of that node.
        taking: it, at work.
        steps: what is done to each image on the way, as a batch of one.
    """

    node_id: str
    taking: Takes
    steps: Sequence[Step]

    def finished(self) -> set[int]:
        """Places of images that need not come."""
        return set() if self.steps else self.taking.finished()

    def take(self, index: int, image: NDArray[Any], row: Record) -> None:
        """Bring an image there: (H, W, 3), uint8 or float32 in 0..1, and what it was made from."""
        picture = as_tensor(image)[None]
        for step in self.steps:
            picture = step(picture)
        (own,) = picture
        self.taking.take(index, own.float(), row)


def step(method: Callable[..., Any], name: str, fixed: Mapping[str, Any]) -> Step:
    """What a method of a node does to a batch that it takes by that name; `fixed` are the rest."""

    def call(picture: torch.Tensor) -> torch.Tensor:
        (result,) = method(**{name: picture}, **fixed)
        return cast("torch.Tensor", result)

    return call
