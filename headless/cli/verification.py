"""`batch-sdxl verify`: files made again, and what came of each.

identical    each pixel is what its record makes
differs      some pixels are not
not checked  the file has our record, but cannot be checked
not ours     the file has none; in a folder that is no fault
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.comparison import Comparison
from ...core.errors import BatchSDXLError, NotOurs
from ...core.replay import Replay
from ...host import host

#: Exit codes, as those of diff.
IDENTICAL, DIFFERS, NOT_CHECKED = 0, 1, 2


def run(given: Sequence[Path], model: str | None, folders: Sequence[Path]) -> int:
    """Check files, say what came of each, and return the exit code.

    Args:
        given: files, and folders of them.
        model: name or path to use in place of the one that files name.
        folders: where to look for input images.

    Returns:
        0 if all of our files are identical, 1 if one differs, else 2: one could not be checked, or
        there was none of ours.
    """
    replay = Replay(model, folders, host.current())
    verdicts: Counter[str] = Counter()
    strangers = 0
    for file, is_named in _pictures(given):
        verdict, notes = _check(replay, file)
        verdicts[verdict] += 1
        strangers += is_named and verdict == "not ours"
        _say(f"{verdict:11}  {file}", *notes)
    ours = verdicts.total() - verdicts["not ours"]
    others = [f"{verdicts[v]} {v}" for v in ("not checked", "not ours") if verdicts[v]]
    _say(", ".join([f"{verdicts['identical']} of {ours} identical", *others]))
    if verdicts["differs"]:
        return DIFFERS
    return NOT_CHECKED if verdicts["not checked"] or strangers or not ours else IDENTICAL


def _check(replay: Replay, file: Path) -> tuple[str, list[str]]:
    """The verdict on a file, and what there is to say about it."""
    try:
        result = replay.verify(file)
    except NotOurs as error:
        return "not ours", [str(error)]
    except BatchSDXLError as error:
        return "not checked", [str(error)]
    notes = [f"not as it was: {part}" for part in result.elsewhere]
    if result.identical:
        return "identical", notes
    return "differs", [*notes, _difference(result)]


def _difference(result: Comparison) -> str:
    return (
        f"{result.changed:,} of {result.total:,} pixels differ, "
        f"by at most {result.largest} of {result.white}"
    )


def _pictures(given: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was named by itself."""
    for path in given:
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.suffix.lower() in (".png", ".webp"))
            yield from ((file, False) for file in sorted(files))
        else:
            yield path, True


def _say(line: str, *notes: str) -> None:
    """A line and what belongs to it, in letters that any terminal has room for."""
    for text in (line, *(f"  {note}" for note in notes)):
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
