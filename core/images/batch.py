"""Many image files -> batches of one size each, in bounded memory.

Sizes are read first, so that each batch is allocated once and filled in place: beside the batches,
one image is held at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidImage
from .buckets import SIDE, bucket
from .files import frame_sizes
from .source import FITS, SourceImage, read_frames

_log = logging.getLogger("batch_sdxl")

#: `FITS`, and cutting each image to the SDXL bucket nearest in shape.
BATCH_FITS = (*FITS, "bucket")

#: What to do about a file that cannot be read.
ON_ERROR = ("stop", "skip", "placeholder")

#: Which frames of an animation are loaded.
FRAMES = ("first", "all")

Size = tuple[int, int]


class ImageFile(NamedTuple):
    """A file to load.

    Attributes:
        path: where it lies.
        name: what to call it, for people and in records.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class LoadOptions:
    """How files become images.

    Attributes:
        size: (width, height) in pixels to bring every image to, None for its own. For `bucket`
            the area that buckets have, None for SDXL's.
        fit: how, one of `BATCH_FITS`.
        frames: one of `FRAMES`.
        on_error: one of `ON_ERROR`. A placeholder is black and all mask, of the size that its file
            would have had, or of a neighbour's.
    """

    size: Size | None = None
    fit: str = "crop"
    frames: str = "first"
    on_error: str = "stop"

    def target(self, own: Size) -> Size:
        """The (width, height) that an image of that size comes out with."""
        if self.fit == "bucket":
            width, height = self.size or (SIDE, SIDE)
            return bucket(*own, area=width * height)
        return self.size or own


@dataclass
class LoadedImages:
    """What came of the files, in their order.

    Attributes:
        images: each (N, H, W, 3) float32 in 0..1; neighbours of one size are one batch.
        masks: each (N, H, W) float32 in 0..1, 1 where an image is transparent.
        names: one an image.
        notes: one an image: what was done to it, for people.
        problems: one a file that could not be read, for people.
    """

    images: list[NDArray[np.float32]] = field(default_factory=list)
    masks: list[NDArray[np.float32]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """How many images of which sizes, in a line."""
        sizes: Counter[str] = Counter()
        for batch in self.images:
            sizes[f"{batch.shape[2]} x {batch.shape[1]}"] += len(batch)
        count = f"{len(self.names)} image{'s' * (len(self.names) != 1)}"
        if len(sizes) == 1:
            return f"{count} of {next(iter(sizes))}"
        listed = ", ".join(f"{number} of {size}" for size, number in sizes.items())
        return f"{count} in {len(self.images)} batches: {listed}"


@dataclass
class _Planned:
    """One frame of a file, before it is read.

    Attributes:
        frame: its number, from 0.
        own: sizes of all frames of the file that are read; empty if they cannot be.
        size: what the frame comes out with.
    """

    file: ImageFile
    frame: int
    own: Sequence[Size]
    size: Size

    @property
    def name(self) -> str:
        """Of the file; where several frames of it are read, with their number, from 1."""
        return f"{self.file.name}#{self.frame + 1}" if len(self.own) > 1 else self.file.name


def load_images(
    files: Sequence[ImageFile], options: LoadOptions, before_each: Callable[[], None] = lambda: None
) -> LoadedImages:
    """Read files.

    Args:
        files: in the order that images come out.
        options: how.
        before_each: called before each image is read; what it raises stops the reading.

    Raises:
        InvalidImage: one cannot be read and `on_error` is `stop`, or none can.
    """
    loader = _Loader(options)
    for _, run in groupby(loader.plan(files), key=lambda item: item.size):
        loader.fill(list(run), before_each)
    result = loader.result
    if not loader.any_read:
        raise InvalidImage(
            "an image that can be read",
            f"{len(files)} files, none of which can: {' '.join(result.problems[:3])}",
            "Check the folder.",
        )
    result.images, result.masks = _joined(result.images), _joined(result.masks)
    return result


class _Loader:
    """Goes through the files twice: for their sizes, then for their pixels."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._frames: Iterator[SourceImage] = iter(())
        self._failed = False
        self.result = LoadedImages()
        self.any_read = False

    def plan(self, files: Sequence[ImageFile]) -> list[_Planned]:
        """The frames to read, with their sizes."""
        planned: list[_Planned] = []
        unsized: list[_Planned] = []
        last = None if self._options.fit == "bucket" else self._options.size
        for file in files:
            try:
                own = frame_sizes(file.path, self._options.frames)
            except InvalidImage as error:
                self._report(file.name, error)
                if self._options.on_error == "placeholder":
                    planned.append(_Planned(file, 0, (), last or (0, 0)))
                    if last is None:
                        unsized.append(planned[-1])
                continue
            for frame, size in enumerate(own):
                last = self._options.target(size)
                planned.append(_Planned(file, frame, own, last))
                for earlier in unsized:
                    earlier.size = last
                unsized.clear()
        return [] if unsized else planned

    def fill(self, run: Sequence[_Planned], before_each: Callable[[], None]) -> None:
        """Read frames of one size into a batch."""
        width, height = run[0].size
        try:
            images = np.empty((len(run), height, width, 3), np.float32)
            # Zeros that the system hands out take no memory until something is written there.
            masks = np.zeros((len(run), height, width), np.float32)
        except MemoryError:
            raise InvalidImage(
                "memory for the images",
                f"{len(run)} of {width} x {height}, {len(run) * width * height * 16 / 2**30:.1f} "
                "GiB, which there are not",
                "Load fewer with limit, or make them smaller with width and height.",
            ) from None
        filled = 0
        for item in run:
            before_each()
            source = self._read(item)
            if source is not None:
                images[filled] = source.pixels
                if source.mask is not None:
                    masks[filled] = source.mask
                self._note(item, self._way(item))
            elif self._options.on_error == "placeholder":
                images[filled], masks[filled] = 0, 1
                self._note(item, f"a black placeholder of {width} x {height}")
            else:
                continue
            filled += 1
        if filled:
            self.result.images.append(images[:filled])
            self.result.masks.append(masks[:filled])

    def _read(self, item: _Planned) -> SourceImage | None:
        """The frame, None if it cannot be read. Frames of a file are read one after the other."""
        if not item.own:
            return None
        if item.frame == 0:
            self._failed = False
            self._frames = self._open(item)
        if self._failed:
            return None
        try:
            source = next(self._frames)
            if (source.width, source.height) != item.size:
                raise InvalidImage(
                    f"{item.file.path} to stay as it is while it is read",
                    f"{source.width} x {source.height} pixels after {item.size}",
                    "Load again when nothing writes to it.",
                )
        except InvalidImage as error:
            self._failed = True
            after = len(item.own) - item.frame - 1
            self._report(item.name + (f" and {after} after it" if after else ""), error)
            return None
        self.any_read = True
        return source

    def _open(self, item: _Planned) -> Iterator[SourceImage]:
        bucketed = self._options.fit == "bucket"
        if not bucketed and self._options.size is None:
            return read_frames(item.file.path, [None] * len(item.own))
        sizes = [self._options.target(size) for size in item.own]
        return read_frames(item.file.path, sizes, "crop" if bucketed else self._options.fit)

    def _report(self, name: str, error: InvalidImage) -> None:
        """Raise the error, or say it and go on."""
        if self._options.on_error == "stop":
            raise error
        done = "left out" if self._options.on_error == "skip" else "a placeholder stands in"
        self.result.problems.append(f"{name}: {done}. {error}")
        _log.warning("%s: %s. %s", name, done, error)

    def _note(self, item: _Planned, what: str) -> None:
        self.result.names.append(item.name)
        self.result.notes.append(f"{item.name}: {what}")

    def _way(self, item: _Planned) -> str:
        own, size = item.own[item.frame], item.size
        stated = f"{own[0]} x {own[1]}"
        return stated if own == size else f"{stated} -> {size[0]} x {size[1]}, {self._options.fit}"


def _joined(batches: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Neighbours of one shape as one: a file in between, of another size, was left out."""
    groups = (list(group) for _, group in groupby(batches, key=lambda batch: batch.shape[1:]))
    return [group[0] if len(group) == 1 else np.concatenate(group) for group in groups]
