"""Names of the sockets, and the base of all nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..core.errors import InvalidWorkflow
from ..core.request.fields import declared
from ..core.request.image_request import ImageRequest
from . import host

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..core.request.record import Record

#: Our own sockets. Where PROMPTS go in, STRING does too, and INT where SEEDS do.
MODEL = "BATCH_SDXL_MODEL"
PROMPTS = "BATCH_SDXL_PROMPTS"
SEEDS = "BATCH_SDXL_SEEDS"
ROWS = "BATCH_SDXL_ROWS"

#: Fields of a request -> ComfyUI's words for them, where it has its own.
WORDS = {one.name: one.comfyui for one in declared(ImageRequest) if one.comfyui}

#: What ComfyUI calls the dictionary that a node describes its inputs with.
Inputs = dict[str, dict[str, Any]]


class BatchNode:
    """What every node of the pack says about itself."""

    CATEGORY = "Batch SDXL"
    FUNCTION = "run"
    SEARCH_ALIASES: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        """Have `run` refuse inputs that the node has not, which ComfyUI hands on as they are."""
        run: Callable[..., Any] = cls.run  # type: ignore[attr-defined]

        @wraps(run)
        def checked(self: Any, *values: Any, **inputs: Any) -> Any:
            # What it takes beside its inputs comes from programs that know it, not from graphs.
            names = {name for kind in cls.INPUT_TYPES().values() for name in kind}  # type: ignore[attr-defined]
            names |= signature(getattr(self, "begin", run)).parameters.keys()
            if unknown := sorted(inputs.keys() - names):
                raise InvalidWorkflow(
                    f"inputs that {cls.__name__} has",
                    f"a link into {', '.join(unknown)}, which it has not",
                    "The graph is of another version: take the link out, or update Batch SDXL.",
                )
            return run(self, *values, **inputs)

        cls.run = checked  # type: ignore[attr-defined]
        if "VALIDATE_INPUTS" in vars(cls):
            cls._word_refusals()

    @classmethod
    def _word_refusals(cls) -> None:
        """Have `VALIDATE_INPUTS` answer in the host's spelling."""
        validate: Callable[..., Any] = vars(cls)["VALIDATE_INPUTS"].__func__

        @wraps(validate)
        def worded(cls: Any, *values: Any, **inputs: Any) -> Any:
            answer = validate(cls, *values, **inputs)
            return answer if answer is True else host.current().spelled(answer)

        # ComfyUI looks at its arguments, and not at what is wrapped.
        worded.__signature__ = signature(validate)  # type: ignore[attr-defined]
        cls.VALIDATE_INPUTS = classmethod(worded)  # type: ignore[attr-defined]


class Outlook(Protocol):
    """What a node that gives images will make, as far as it is known without a model.

    `PLANS` names the method that returns it, of all inputs but `model`; it then comes to the method
    of `GIVES` as `planned`. `LOADS` of a node that loads a model names the method that says, of the
    same inputs, the width and height that the model was made for. `NEEDS` of a node that changes a
    model names the method, of all inputs but `model`, that refuses what is not there. `EXPECTS` of
    a node that takes images names the method that refuses requests whose images it could not take.
    """

    @property
    def requests(self) -> Sequence[ImageRequest]:
        """Of each image, in order."""


class Gives(Protocol):
    """A node at work that hands out images one by one; `GIVES` names the method that begins it.

    Attributes:
        rows: what each image is made from.
        failures: those that could not be made, by place.
    """

    rows: Sequence[Record]
    failures: Mapping[int, Exception]

    def images(self, but: Collection[int] = ()) -> Iterator[tuple[int, NDArray[Any]]]:
        """Place and pixels of each image, in any order, without those that nobody needs."""

    def collect(
        self, each: Callable[[int, NDArray[Any]], None], unread: Collection[str]
    ) -> tuple[Any, ...]:
        """The results of the node, once `each` was called for all images.

        Args:
            each: of place and pixels.
            unread: names of outputs that nobody reads.
        """


class Takes(Protocol):
    """A node at work that writes images one by one; `TAKES` names the method that begins it."""

    @property
    def files(self) -> list[Path]:
        """The files."""

    def finished(self) -> set[int]:
        """Places of images that need not come, if they come as they are made."""

    def take(self, index: int, picture: torch.Tensor, row: Record) -> None:
        """Take the image of a place, (H, W, C) float32, and what it was made from."""

    def end(self) -> dict[str, Any]:
        """The results of the node."""

    def stop(self) -> None:
        """Leave what is there in order, as no more images come."""
