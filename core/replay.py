"""An image made again from what its file says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]  # accelerate needs it, and so has brought it
import torch

from .comparison import Comparison, compare
from .engine.engine import Engine
from .engine.generated_image import GeneratedImage
from .errors import InvalidImage, InvalidRequest, ModelNotFound, OutOfMemory
from .finder import Finder, Here, Places
from .images.source import read_image
from .models.digest import digest_file
from .models.hub import is_name
from .models.inversion import with_inversions
from .models.load import find_model, load_model
from .models.lora import apply_lora
from .models.model import Model
from .models.spec import DEMO
from .models.vae import own_vae_contents
from .numerics import Geometry
from .request.image_request import SizedRequest
from .request.named import Named
from .request.record import Record
from .samplers.spacings import SPACINGS
from .samplers.table import with_parts
from .saving.image_file import read_record
from .saving.writer import keeps_pixels


class Again(NamedTuple):
    """An image that was made again.

    Attributes:
        image: with its record of today.
        elsewhere: what is not as it was when the file was made.
    """

    image: GeneratedImage
    elsewhere: tuple[str, ...]


def verify(
    file: str | Path, *, model: str | None = None, folders: Sequence[Path] = ()
) -> Comparison:
    """Make the image of a file again, alone, and compare the pixels.

    Args:
        file: that `save` or Save Image Batch wrote.
        model: name or path to use in place of the one that the file names.
        folders: where input images, LoRAs and the like are looked for, beside the file's own.

    Raises:
        NotOurs: the file has no record.
        BatchSDXLError: it cannot be checked: it keeps not all of its pixels, its record holds a
            value that cannot be, or what it was made with is missing.
    """
    return Replay(model, folders).verify(Path(file))


def reproduce(
    file: str | Path,
    *,
    model: str | None = None,
    folders: Sequence[Path] = (),
    **changes: Any,
) -> GeneratedImage:
    """Make the image of a file again, with changes to its request.

    Args:
        file: as `verify`, model and folders too.
        model: as `verify`.
        folders: as `verify`.
        changes: fields of `ImageRequest`; a sampler_name, or a spacing alone as scheduler, leaves
            the other as it was.

    Raises:
        BatchSDXLError: as `verify`, or a change that can't be made.
    """
    return Replay(model, folders).reproduce(Path(file), changes).image


class Replay:
    """Makes images again, each alone, with the models and other files that it finds."""

    def __init__(
        self, model: str | None = None, folders: Sequence[Path] = (), places: Places | None = None
    ) -> None:
        """Nothing is loaded yet.

        Args:
            model: name or path to use in place of the one that files name.
            folders: where input images, LoRAs and the like are looked for, beside each file's own
                folder.
            places: where names of models and weights lie; None takes them as paths.
        """
        self._model_name = model
        self._places = places or Here()
        self._finder = Finder(folders, self._places)
        self._load = lru_cache(maxsize=1)(self._load_model)

    def verify(self, file: Path) -> Comparison:
        """As the function `verify`."""
        record = read_record(file)
        if not keeps_pixels(file):
            raise InvalidImage(
                "a file that keeps every pixel (PNG or lossless WebP)",
                f"{file}, which does not",
                "Use batch-sdxl reproduce and compare by eye.",
            )
        pixels = read_image(file).pixels
        wanted = (record.request.height, record.request.width)
        if pixels.shape[:2] != wanted:
            raise InvalidImage(
                f"an image of the {wanted[1]} x {wanted[0]} pixels that its record says",
                f"{file} of {pixels.shape[1]} x {pixels.shape[0]}",
                "Give the file as it was made; batch-sdxl reproduce makes it again.",
            )
        again, elsewhere = self._again(record, self._found(record.request, file), file.parent)
        known = again.record.identity
        if not elsewhere and known != record.identity:
            # All else is equal, so somebody has written it anew.
            elsewhere = (f"identity: {record.identity[:10]} there, {known[:10]} here",)
        return compare(file, pixels, again, elsewhere)

    def reproduce(self, file: Path, changes: Mapping[str, Any]) -> Again:
        """As the function `reproduce`."""
        record = read_record(file)
        request, changes = record.request, dict(changes)
        sampler, spacing = changes.pop("sampler_name", ""), changes.get("scheduler", "")
        if sampler or spacing in SPACINGS:
            changes["scheduler"] = with_parts(request.scheduler, sampler, spacing)
        request = self._found(replace(request, **changes), file)
        return self._again(record, request, file.parent)

    def _again(self, record: Record, request: SizedRequest, beside: Path) -> Again:
        """The image, and what is not as it was."""
        with _threads(record.numerics.get("threads")):
            engine = self._engine(record, beside)
            _check_memory(engine, request)
            (image,) = engine.generate([request])
        there, here = _making(record), _making(image.record)
        return Again(
            image,
            tuple(
                f"{name}: {value} there, {here.get(name)} here"
                for name, value in there.items()
                if here.get(name) != value
            ),
        )

    def _engine(self, record: Record, beside: Path) -> Engine:
        if record.model.through:
            raise ModelNotFound(
                "a model that is loaded from files",
                f"{record.model.name}, run through {record.model.through}: not checked here",
                f"Make it again there: the file holds its graph, if {record.model.through} saved "
                "it with one.",
            )

        def find(kind: str, name: str, sha256: str) -> Path:
            return self._finder.weights(kind, f"{name}.safetensors", sha256, beside, digest_file)

        made = record.model
        vae = None
        if made.vae is not None:
            vae = self._finder.weights(
                "vae", made.vae.name, made.vae.digest, beside, lambda p: own_vae_contents(p).digest
            )
        numerics = record.numerics
        name = self._model_name or self._local(made.name)
        compiled = "compiled" in numerics
        model = self._load(name, numerics["dtype"], compiled, vae, tuple(made.noise.items()))
        for lora in made.loras:
            path = find("loras", lora.name, lora.digest)
            # Of a file with this hash the same was left out, if anything was.
            model = apply_lora(model, path, lora.weight, lora.text_weight, skip_unknown=True)
        model = with_inversions(
            model,
            {n: find("embeddings", n, sha256) for n, sha256 in record.inversions.items()},
        )
        return Engine(model, geometry=Geometry(numerics["rows"], numerics.get("vae_tile")))

    def _local(self, name: str) -> str:
        """The name of a model, which a file may have anyone download: so it must be here."""
        try:
            find_model(self._places.model_path(name))
        except (ModelNotFound, OSError, ValueError) as error:
            raise ModelNotFound(
                "the model that made the image on this machine",
                f"no {name}",
                f"Have it fetched: --model {name}; or name another one."
                if is_name(name)
                else "Put it where it was, or say where it lies, or another one: --model FILE.",
            ) from error
        return name

    def _load_model(
        self,
        name: str,
        dtype: str,
        compiled: bool,
        vae: Path | None,
        noise: tuple[tuple[str, Any], ...],
    ) -> Model:
        return load_model(
            DEMO if name == DEMO else self._places.model_path(name),
            dtype=getattr(torch, dtype),
            compiled=compiled,
            vae=vae,
            tokenizer_folders=self._places.tokenizer_folders(),
            **dict(noise),
        )

    def _found(self, request: SizedRequest, file: Path) -> SizedRequest:
        """The request with the pixels of its input image, which a file has by name."""
        if isinstance(request.latents, Named):
            raise InvalidImage(
                f"the latents that the image started from, {request.latents.name}",
                f"no more than their SHA-256, {request.latents.digest[:10]}…: no file holds them",
                "Make them again by the graph of that run, and give them: "
                "reproduce(file, latents=...) in Python.",
            )
        if not isinstance(request.image, Named):
            return request
        size = (request.width, request.height)
        return replace(request, image=self._finder.image(request.image, size, file.parent))


def _making(record: Record) -> dict[str, Any]:
    """What an image was made with, beside its request."""
    model = record.model
    named = {"model": model.digest}
    if model.vae is not None:
        named["vae"] = model.vae.digest
    named |= {f"lora {lora.name}": lora.digest for lora in model.loras}
    named |= {f"embedding {name}": digest for name, digest in record.inversions.items()}
    return {**record.numerics, **{name: digest[:10] for name, digest in named.items()}}


def _check_memory(engine: Engine, request: SizedRequest) -> None:
    """Refuse what no machine like this can do: the number of rows is any that a file says.

    Raises:
        OutOfMemory: a call takes more than the device has at all.
    """
    device = engine.model.device
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    else:
        total = psutil.virtual_memory().total
    needed = engine.working_memory([request])
    if needed > total:
        raise OutOfMemory(
            f"a device with {needed / 1e9:,.0f} GB for calls of the rows that the file says",
            f"{device} with {total / 1e9:,.0f} GB",
            "Check it on a machine that has as much.",
        )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """As many CPU threads as the file was made with: sums are split among them.

    Raises:
        InvalidRequest: this machine has not so many.
    """
    before = torch.get_num_threads()
    most = max(before, os.cpu_count() or 1)
    if number is not None and not 1 <= number <= most:
        raise InvalidRequest(
            "as many CPU threads as the image was made with on this machine",
            f"{number}, where it has {most}",
            "Check it on a machine with as many.",
        )
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
