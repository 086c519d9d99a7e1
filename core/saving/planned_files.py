"""Where each image of a batch goes, decided before the first is written.

So the names do not depend on the order in which images are finished. Where a batch completes what
an earlier run began, an image whose file is there keeps it, and the others get the numbers that
they would have had in that run.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ..errors import BatchSDXLError
from ..request.row import Row
from .file_names import FileName
from .image_file import read_record
from .new_files import unwritten


class Place(NamedTuple):
    """Where one image goes.

    Attributes:
        folder: need not be there.
        name: the image's.
        suffix: ending of the file.
        record: the row of the image.
    """

    folder: Path
    name: FileName
    suffix: str
    record: Row

    def file(self, number: int) -> str:
        """The file's name with a number."""
        return self.name.numbered(number) + self.suffix


class PlannedFiles:
    """A file for each image of a batch.

    Attributes:
        there: indices of images whose files are there, by the identity in their record.
    """

    def __init__(self, places: Sequence[Place], *, completes: bool) -> None:
        """Look at the folders and choose.

        Args:
            places: of the images.
            completes: whether files that are there count as written.

        Raises:
            OutputError: a folder cannot be read.
        """
        self.there: set[int] = set()
        self._places = places
        self._completes = completes
        self._numbers: dict[int, int] = {}
        self._more: dict[int, Collection[int]] = {}
        self._next: dict[tuple[Path, str], Iterator[int]] = {}
        self._folders: dict[Path, list[str]] = {}
        groups = defaultdict(list)
        for index, place in enumerate(places):
            groups[place.folder, place.name.before, place.name.number is None].append(index)
        for (folder, before, is_bare), indices in groups.items():
            if is_bare:
                self._choose_bare(indices)
            else:
                self._choose_numbers(folder, before, indices)

    def names(self, index: int) -> Iterator[str]:
        """The file's name, and others where that one is of other pixels, or taken meanwhile.

        Files of the same identity come before free names: images may have gone through nodes.
        """
        place = self._places[index]
        yield place.file(self._numbers[index])
        if index in self._more:
            yield from map(place.file, self._more[index])
        if place.name.number is None:
            yield from map(place.file, count(self._numbers[index] + 1))
        else:
            yield from map(place.file, self._next[place.folder, place.name.before])

    def _choose_numbers(self, folder: Path, before: str, indices: Sequence[int]) -> None:
        numbered = self._numbered(folder, before)
        taken = set(numbered.values())
        shift = None
        if self._completes:
            known = _Known(folder, numbered)
            for at, index in enumerate(indices):
                numbers = known.find(self._places[index])
                if numbers:
                    number = numbers.popleft()
                    self._take(index, number)
                    self._more[index] = numbers
                    shift = number - at if shift is None else shift
        following = count(1 + max(taken, default=0))
        for at, index in enumerate(indices):
            if index in self._numbers:
                continue
            number = 0 if shift is None else shift + at
            if number < 1 or number in taken:
                number = next(n for n in following if n not in taken)
            taken.add(number)
            self._numbers[index] = number
        self._next[folder, before] = count(1 + max(taken))

    def _choose_bare(self, indices: Sequence[int]) -> None:
        """Each name is looked at once, however many images it is of."""
        numbers = count(1)
        free: int | None = None
        known: defaultdict[str, deque[int]] = defaultdict(deque)
        for index in indices:
            place = self._places[index]
            while free is None:
                number = next(numbers)
                name = place.file(number)
                if not self._is_there(place.folder, name):
                    free = number
                elif self._completes and (identity := _identity(place.folder / name)):
                    known[identity].append(number)
            if same := known[place.record.identity]:
                self._take(index, same.popleft())
            else:
                self._numbers[index], free = free, None

    def _take(self, index: int, number: int) -> None:
        self.there.add(index)
        self._numbers[index] = number

    def _numbered(self, folder: Path, before: str) -> dict[str, int]:
        """Names that start so, and the numbers that follow."""
        names = self._listed(folder)
        pattern = re.compile(re.escape(before) + r"(\d+)")
        found = {}
        for at in range(bisect_left(names, before), len(names)):
            if not names[at].startswith(before):
                break
            if match := pattern.match(names[at]):
                found[names[at]] = int(match[1])
        return found

    def _is_there(self, folder: Path, name: str) -> bool:
        names = self._listed(folder)
        at = bisect_left(names, name)
        return names[at : at + 1] == [name]

    def _listed(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; each folder is read once."""
        if folder not in self._folders:
            try:
                names = [path.name for path in folder.iterdir()] if folder.exists() else []
            except OSError as error:
                raise unwritten(folder, error) from error
            self._folders[folder] = sorted(names)
        return self._folders[folder]


class _Known:
    """Files with numbers, by whose image they hold; each is read once."""

    def __init__(self, folder: Path, numbered: dict[str, int]) -> None:
        self._folder = folder
        self._numbered = numbered
        self._found: dict[tuple[str, str], defaultdict[str, deque[int]]] = {}

    def find(self, place: Place) -> deque[int]:
        """The numbers of files of a place's image; whoever uses one takes it out."""
        key = (place.name.after, place.suffix)
        if key not in self._found:
            by_identity: defaultdict[str, deque[int]] = defaultdict(deque)
            self._found[key] = by_identity
            for name, number in sorted(self._numbered.items(), key=lambda one: one[1]):
                if name == place.file(number) and (known := _identity(self._folder / name)):
                    by_identity[known].append(number)
        return self._found[key][place.record.identity]


def _identity(path: Path) -> str | None:
    """The identity of the image in a file, None for a file without one."""
    try:
        return read_record(path).identity
    except (BatchSDXLError, OSError):
        return None
