"""What a safetensors file holds, told by its first few kilobytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..errors import UnsupportedModel

#: Longest header that is read; a full SDXL checkpoint with all its names has 400 kB.
_LONGEST = 100_000_000
_PICKLED = (".ckpt", ".pt", ".pth", ".bin")


class Header(NamedTuple):
    """The tensors of a file, without their content.

    Attributes:
        shapes: name -> shape, `()` for a single number.
        metadata: what the program that wrote the file said about it.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file, whose length is checked too.

    Source: https://github.com/huggingface/safetensors, "Format": 8 bytes of length, so much JSON,
    then the numbers, without gaps up to the end of the file.

    Raises:
        UnsupportedModel: it is another kind of file, cut short, or damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        head = file.read(length) if 2 <= length <= min(_LONGEST, size) else b""
    if path.suffix.lower() in _PICKLED or start[:2] in (b"PK", b"\x80\x02"):
        raise UnsupportedModel(
            "a .safetensors file",
            f"{path}, a pickled file, which can run any program when it is opened",
            "Get the model as .safetensors, or convert it with a tool that you trust.",
        )
    if start.startswith((b"version ", b"<", b"GGUF")):
        kind = {b"v": "a Git LFS pointer", b"<": "a web page", b"G": "a GGUF file"}[start[:1]]
        raise _refusal(path, f"{kind} of {size} bytes")
    if not head.startswith(b"{"):
        raise _refusal(path, f"{size} bytes without a header")
    if len(head) < length:
        raise _refusal(path, f"{size} bytes, which end within the header")
    try:
        entries = json.loads(head)
        metadata = entries.pop("__metadata__", {})
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _refusal(path, f"a damaged header ({error})") from error
    if size != 8 + length + end:
        raise _refusal(path, f"{size} bytes instead of {8 + length + end}")
    return Header(shapes, metadata)


def _refusal(path: Path, found: str) -> UnsupportedModel:
    return UnsupportedModel(
        "a whole .safetensors file", f"{path}: {found}", "Fetch or copy the file again."
    )
