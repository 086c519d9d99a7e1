"""What a safetensors file holds, told by its first few kilobytes."""

from __future__ import annotations

import json
import pickletools
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..errors import UnsupportedModel

#: Endings of files that torch writes as pickles.
_PICKLED = (".ckpt", ".pt", ".pth", ".bin")
#: Longest header that the library reads; a full SDXL checkpoint with all its names has 400 kB.
_LONGEST = 100_000_000
#: Bytes by which a file is told that is no safetensors; enough for the beginning of a pickle.
_START = 4096


class Header(NamedTuple):
    """The tensors of a file, without their content.

    Attributes:
        shapes: name -> shape, `()` for a single number.
        metadata: what the program that wrote the file said about it.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file, whose structure is checked against the file's length.

    The library reads it, and refuses what is not whole: names, shapes and places must fit each
    other and fill the file. Only then is it asked what else the file may be, since the length of a
    header, with which a file begins, can look like anything.

    Source: https://github.com/huggingface/safetensors, "Format": 8 bytes of length, so much JSON,
    then the numbers, without gaps up to the end of the file.

    Raises:
        UnsupportedModel: it is another kind of file, cut short, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix.lower() in _PICKLED:
        raise _pickled(path)
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return Header(shapes, file.metadata() or {})
    # A file of no bytes cannot be mapped into memory, which is an error of the system's.
    except (SafetensorError, OSError, ValueError) as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> UnsupportedModel:
    """What a file is that cannot be read as safetensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(b"PK\x03\x04") or _begins_pickle(start):
        return _pickled(path)
    length = int.from_bytes(start[:8], "little")
    # The JSON that begins there was written as a header, whatever its length looks like.
    if start[8:9] == b"{" and length >= 2:
        found = _what_is_wrong(path, size, length, error)
    elif start.startswith(b"version https://git-lfs"):
        found = f"a Git LFS pointer of {size} bytes"
    elif start.lstrip().startswith(b"<"):
        found = f"a web page of {size} bytes"
    elif start.startswith(b"GGUF"):
        found = f"a GGUF file of {size} bytes"
    else:
        found = f"{size} bytes without a header"
    return UnsupportedModel(
        "a whole .safetensors file", f"{path}: {found}", "Fetch or copy the file again."
    )


def _what_is_wrong(path: Path, size: int, length: int, error: Exception) -> str:
    """In numbers where the file is only shorter or longer than it should be."""
    if size < 8 + length:
        return f"{size} bytes, which end within the header"
    end = None
    try:
        with path.open("rb") as file:
            file.seek(8)
            entries = json.loads(file.read(min(length, _LONGEST)))
        entries.pop("__metadata__", None)
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass
    if end is None or size == 8 + length + end:
        return f"a damaged header ({error})"
    return f"{size} bytes instead of {8 + length + end}"


def _begins_pickle(start: bytes) -> bool:
    """Whether bytes are a pickle's, of protocol 2 or newer, by the structure of the first few."""
    if start[:1] != b"\x80":
        return False
    try:
        return any(True for _ in islice(pickletools.genops(start), 2, 3)) and start[1] <= 5
    except (ValueError, IndexError):
        return False


def _pickled(path: Path) -> UnsupportedModel:
    return UnsupportedModel(
        "a .safetensors file",
        f"{path}, a pickled file, which can run any program when it is opened",
        "Get the model as .safetensors, or convert it with a tool that you trust.",
    )
