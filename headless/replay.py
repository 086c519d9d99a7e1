"""An image made again from what its file says."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BatchSDXLError, InvalidImage, InvalidRequest
from ..core.images.source import FITS, SourceImage, read_frames, read_image
from ..core.metadata import Record, read_record, to_request
from ..core.request import ImageRequest
from ..core.saving.png16 import to_uint16
from ..core.saving.writer import keeps_pixels
from ..nodes import host
from ..nodes.load_sdxl import DEMO

if TYPE_CHECKING:
    from ..core.engine import Engine, GeneratedImage
    from ..core.models.model import Model

#: What ComfyUI's nodes call some of a request's fields.
ALIASES = {"steps": "num_inference_steps", "cfg": "guidance_scale"}


@dataclass(frozen=True)
class Comparison:
    """A file against its image made again.

    Attributes:
        file: the file.
        changed: pixels that differ.
        total: pixels of the image.
        largest: the largest difference of a channel.
        white: what that is a part of: 255, or 65535 for unrounded pixels.
        elsewhere: what is not as it was when the file was made.
    """

    file: Path
    changed: int
    total: int
    largest: int
    white: int
    elsewhere: tuple[str, ...]


class Replay:
    """Makes images again, each alone, with the models and input images that it finds."""

    def __init__(self, model: str | None, folders: Sequence[Path]) -> None:
        """Nothing is loaded yet.

        Args:
            model: name or path to use in place of the one that files name.
            folders: where input images are looked for, beside each file's own folder.
        """
        self._model_name = model
        self._folders = folders
        self._load = lru_cache(maxsize=1)(self._load_model)

    def verify(self, file: Path) -> Comparison:
        """Make the image of a file again and compare the pixels.

        Raises:
            BatchSDXLError: the file has no record, or its model or input image is missing.
        """
        record = read_record(file)
        if not keeps_pixels(file):
            raise InvalidImage(
                "a file that keeps every pixel (PNG or lossless WebP)",
                f"{file}, which does not",
                "Use batch-sdxl reproduce and compare by eye.",
            )
        again, elsewhere = self._again(record, self._request(record, file))
        # 16 bits: unrounded ones, or 8 bits spread over them, which is a multiple of 257.
        values = np.rint(read_image(file).pixels.astype(np.float64) * 65535).astype(int)
        spread = bool((values % 257 == 0).all())
        expected = (
            again.pixels.astype(int) * 257 if spread else to_uint16(again.decoded).astype(int)
        )
        difference = np.abs(values - expected).max(axis=2)
        if spread:
            difference //= 257
        return Comparison(
            file,
            int((difference > 0).sum()),
            difference.size,
            int(difference.max()),
            255 if spread else 65535,
            elsewhere,
        )

    def reproduce(
        self, file: Path, changes: Mapping[str, str]
    ) -> tuple[Record, NDArray[np.uint8], tuple[str, ...]]:
        """Make the image of a file again, with changes to its request.

        Args:
            file: an image with our record.
            changes: texts by the name of a field, which ComfyUI's words may stand for.

        Returns:
            The new record, the pixels, and what is not as it was when the file was made.

        Raises:
            BatchSDXLError: as `verify`, or a change that can't be made.
        """
        record = read_record(file)
        request = self._request(record, file)
        request = replace(request, **_typed(request, changes))
        again, elsewhere = self._again(record, request)
        return self._engine(record).describe(again.request), again.pixels, elsewhere

    def _again(
        self, record: Record, request: ImageRequest
    ) -> tuple[GeneratedImage, tuple[str, ...]]:
        with _threads(record["numerics"]["threads"]):
            engine = self._engine(record)
            here = engine.describe(request)
            (again,) = engine.generate([request])
        there = record["numerics"] | {"model": record["model"]["sha256"][:10]}
        now = here["numerics"] | {"model": here["model"]["sha256"][:10]}
        return again, tuple(
            f"{name}: {value} there, {now.get(name)} here"
            for name, value in there.items()
            if now.get(name) != value
        )

    def _engine(self, record: Record) -> Engine:
        from ..core.engine import Engine
        from ..core.models.lora import apply_lora
        from ..core.numerics import Geometry

        numerics = record["numerics"]
        model = self._load(self._model_name or record["model"]["name"], numerics["dtype"])
        for lora in record.get("loras", []):
            path = host.current().file_path("loras", lora["name"])
            model = apply_lora(model, path, lora["weight"], lora["text_weight"])
        return Engine(model, geometry=Geometry(numerics["rows"], numerics.get("vae_tile")))

    def _load_model(self, name: str, dtype: str) -> Model:
        import torch

        from ..core.models.model import load_model

        path = DEMO if name == DEMO else host.current().model_path(name)
        return load_model(path, dtype=getattr(torch, dtype))

    def _request(self, record: Record, file: Path) -> ImageRequest:
        wanted = record.get("image")
        image = None if wanted is None else self._find(wanted, file.parent, record)
        return to_request(record, image)

    def _find(self, wanted: Mapping[str, str], folder: Path, record: Record) -> SourceImage:
        """The input image of that name whose pixels are the ones that were used."""
        size = (record["width"], record["height"])
        roots = [folder, *self._folders, *host.current().input_folders()]
        # `clip.gif#3` is the third frame of clip.gif.
        file, frame = re.fullmatch(r"(.*?)(?:#(\d+))?", wanted["name"], re.DOTALL).groups()  # type: ignore[union-attr]
        name = glob.escape(Path(file).name)
        seen = 0
        for path in (p for root in roots for way in (name, f"*/{name}") for p in root.glob(way)):
            seen += 1
            for image in _versions(path, int(frame or 1), size):
                if image.digest == wanted["sha256"]:
                    return image
        found = f"{seen} of that name with other pixels" if seen else "none"
        raise InvalidImage(
            f"the input image {wanted['name']} in {', '.join(map(str, dict.fromkeys(roots)))}",
            found,
            "Put the image that was used there, or name its folder with --images.",
        )


def _versions(path: Path, frame: int, size: tuple[int, int]) -> Iterator[SourceImage]:
    """A frame of a file as it is, and brought to a size in each of our ways."""
    ways: list[tuple[tuple[int, int] | None, str]] = [
        (None, "crop"),
        *((size, fit) for fit in FITS),
    ]
    for sides, fit in ways:
        # Another file of that name may be no image, or have fewer frames.
        with suppress(BatchSDXLError):
            *_, image = read_frames(path, [sides] * frame, fit)
            yield image


def _typed(request: ImageRequest, changes: Mapping[str, str]) -> dict[str, Any]:
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    del values["image"]
    # What is open where it is not given is a whole number of pixels.
    kinds = {name: int if value is None else type(value) for name, value in values.items()}
    typed: dict[str, Any] = {}
    for name, text in changes.items():
        field = ALIASES.get(name, name)
        if field not in kinds:
            raise InvalidRequest(
                f"a setting of an image: {', '.join([*kinds, *ALIASES])}",
                repr(name),
                "Write for example --set num_inference_steps=30.",
            )
        try:
            typed[field] = kinds[field](text)
        except ValueError:
            raise InvalidRequest(
                f"a number for {name}", repr(text), "Write it in digits."
            ) from None
    return typed


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """As many CPU threads as the file was made with: sums are split among them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
