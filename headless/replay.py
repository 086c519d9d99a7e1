"""An image made again from what its file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidImage, InvalidRequest, ModelNotFound
from ..core.images.source import read_image
from ..core.request.image_request import ImageRequest
from ..core.request.record import Record, read_record, to_request
from ..core.saving.png16 import to_uint16
from ..core.saving.writer import keeps_pixels
from ..host import host
from ..host.types import WORDS
from ..nodes.load_sdxl import DEMO
from .finder import Finder

if TYPE_CHECKING:
    from ..core.engine.engine import Engine, GeneratedImage
    from ..core.models.model import Model

#: ComfyUI's words for some of a request's fields -> the fields.
ALIASES = {word: field for field, word in WORDS.items()}


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
    """Makes images again, each alone, with the models and other files that it finds."""

    def __init__(self, model: str | None, folders: Sequence[Path]) -> None:
        """Nothing is loaded yet.

        Args:
            model: name or path to use in place of the one that files name.
            folders: where input images, LoRAs and the like are looked for, beside each file's own
                folder.
        """
        self._model_name = model
        self._finder = Finder(folders)
        self._load = lru_cache(maxsize=1)(self._load_model)

    def verify(self, file: Path) -> Comparison:
        """Make the image of a file again and compare the pixels.

        Raises:
            BatchSDXLError: the file has no record, or what it was made with is missing.
        """
        record = read_record(file)
        if not keeps_pixels(file):
            raise InvalidImage(
                "a file that keeps every pixel (PNG or lossless WebP)",
                f"{file}, which does not",
                "Use batch-sdxl reproduce and compare by eye.",
            )
        again, _, elsewhere = self._again(record, self._request(record, file), file.parent)
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
        again, here, elsewhere = self._again(record, request, file.parent)
        return here, again.pixels, elsewhere

    def _again(
        self, record: Record, request: ImageRequest, beside: Path
    ) -> tuple[GeneratedImage, Record, tuple[str, ...]]:
        """The image, its record of today, and what is not as it was."""
        with _threads(record["numerics"]["threads"]):
            engine = self._engine(record, beside)
            (again,) = engine.generate([request])
            here = engine.describe(again.request)
        there, now = _making(record), _making(here)
        elsewhere = tuple(
            f"{name}: {value} there, {now.get(name)} here"
            for name, value in there.items()
            if now.get(name) != value
        )
        return again, here, elsewhere

    def _engine(self, record: Record, beside: Path) -> Engine:
        from ..core.engine.engine import Engine
        from ..core.models.digest import digest_file
        from ..core.models.inversion import with_inversions
        from ..core.models.lora import apply_lora
        from ..core.models.vae import own_vae_contents
        from ..core.numerics import Geometry

        def find(kind: str, name: str, sha256: str) -> Path:
            return self._finder.weights(kind, f"{name}.safetensors", sha256, beside, digest_file)

        vae = None
        if own := record.get("vae"):
            vae = self._finder.weights(
                "vae", own["name"], own["sha256"], beside, lambda p: own_vae_contents(p).digest
            )
        numerics = record["numerics"]
        name = self._model_name or self._local(record["model"]["name"])
        noise = tuple(record.get("noise", {}).items())
        model = self._load(name, numerics["dtype"], vae, noise)
        for lora in record.get("loras", []):
            path = find("loras", lora["name"], lora["sha256"])
            model = apply_lora(model, path, lora["weight"], lora["text_weight"])
        called = record.get("inversions", {}).items()
        model = with_inversions(
            model, {name: find("embeddings", name, sha256) for name, sha256 in called}
        )
        return Engine(model, geometry=Geometry(numerics["rows"], numerics.get("vae_tile")))

    def _local(self, name: str) -> str:
        """The name of a model, which a file may have anyone download: so it must be here."""
        from ..core.models.model import find_model

        try:
            find_model(host.current().model_path(name))
        except ModelNotFound as error:
            raise ModelNotFound(
                error.expected, error.got, f"Name it, or another one: --model {name}."
            ) from error
        return name

    def _load_model(
        self, name: str, dtype: str, vae: Path | None, noise: tuple[tuple[str, Any], ...]
    ) -> Model:
        import torch

        from ..core.models.model import load_model

        return load_model(
            DEMO if name == DEMO else host.current().model_path(name),
            dtype=getattr(torch, dtype),
            vae=vae,
            tokenizer_folders=host.current().tokenizer_folders(),
            **dict(noise),
        )

    def _request(self, record: Record, file: Path) -> ImageRequest:
        wanted = record.get("image")
        if wanted is None:
            return to_request(record)
        size = (record["width"], record["height"])
        return to_request(record, self._finder.image(wanted, size, file.parent))


def _making(record: Record) -> dict[str, Any]:
    """What an image was made with, beside its request."""
    named = {"model": record["model"]["sha256"][:10]}
    if "vae" in record:
        named["vae"] = record["vae"]["sha256"][:10]
    named |= {f"lora {lora['name']}": lora["sha256"][:10] for lora in record.get("loras", [])}
    words = record.get("inversions", {}).items()
    named |= {f"embedding {name}": sha256[:10] for name, sha256 in words}
    return {**record["numerics"], **named}


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
