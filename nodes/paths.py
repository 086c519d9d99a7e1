"""Where files may come from and go to: below the host's folders and nowhere else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..core.errors import InvalidImage, OutputError
from . import host


def find_input(name: str, roots: list[Path] | None = None) -> Path:
    """The file or folder of that name below one of the host's input folders.

    Args:
        name: relative; `..` and links may not lead out.
        roots: folders to look in instead, in this order.

    Raises:
        InvalidImage: there is none; the message names the folders.
    """
    roots = host.current().input_folders() if roots is None else roots
    for root in (folder.resolve() for folder in roots):
        # Too long a name, or one with a zero byte, is no file either.
        with suppress(OSError, ValueError):
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.exists():
                return path
    raise InvalidImage(
        f"a file or folder below {' or '.join(map(str, roots))}",
        repr(name),
        "Put it there, or correct its name.",
    )


def place_output(prefix: str) -> tuple[Path, str]:
    """The folder below the host's output folder, and the start of the names, that a prefix means.

    Args:
        prefix: relative, such as `batch` or `portraits/batch`.

    Raises:
        OutputError: it leads out of the output folder, or names no file.
    """
    root = host.current().output_folder().resolve()
    path = (root / prefix).resolve()
    if prefix.endswith(("/", "\\")) or path == root or not path.is_relative_to(root):
        raise OutputError(
            f"a filename_prefix that stays below {root}", repr(prefix), "Write for example: batch."
        )
    return path.parent, path.name


def shown(file: Path) -> dict[str, str]:
    """What ComfyUI wants to know of a file below the output folder, to show it."""
    root = host.current().output_folder().resolve()
    subfolder = file.parent.relative_to(root).as_posix().removeprefix(".")
    return {"filename": file.name, "subfolder": subfolder, "type": "output"}
