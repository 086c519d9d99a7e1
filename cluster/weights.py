"""A model's files, sent once to each node through Ray's object store.

They are files on both ends, and no pickled modules: each is checked by its SHA-256 where it
arrives, in a folder that is named by the SHA-256 of them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import UnsupportedModel
from ..core.models.digest import digest_file
from ..core.models.load import find_model
from ..core.models.model import Model
from ..core.models.spec import DEMO, ModelSpec
from ..core.models.tokenizer import FILES
from ..core.models.tokenizer_files import find_tokenizer
from ..core.whole_files import PARTIAL

#: Bytes of a file that are one object.
CHUNK = 64 * 2**20


@dataclass(frozen=True)
class Sent:
    """A file on its way.

    Attributes:
        digest: SHA-256 of it.
        chunks: its bytes, references to arrays of uint8.
    """

    digest: str
    chunks: tuple[Any, ...]


@dataclass(frozen=True)
class Parcel:
    """All files of a model.

    Attributes:
        spec: its paths are below the folder that it is unpacked to.
        files: path below that folder -> the file.
    """

    spec: ModelSpec
    files: Mapping[str, Sent]

    @property
    def digest(self) -> str:
        """SHA-256 of the files and their names, in hexadecimal."""
        lines = sorted((name, file.digest) for name, file in self.files.items())
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def pack(model: Model, put: Callable[[Any], Any]) -> Parcel | None:
    """A model's files, in the object store; None for the built-in model, which all nodes have.

    Args:
        model: that the driver has read.
        put: keeps an array of bytes, and returns a reference to it.
    """
    spec = model.spec
    paths: dict[str, Path] = {}
    if spec.model != DEMO:
        root = find_model(spec.model)
        if root.is_dir():
            held = [root / "model_index.json", *model.contents.files]
            name = f"model/{root.name}"
            paths |= {f"{name}/{file.relative_to(root).as_posix()}": file for file in held}
            spec = replace(spec, model=name)
        else:
            folders = [root.parent, root.parent / "tokenizer", *map(Path, spec.tokenizer_folders)]
            words = find_tokenizer(folders)
            if words is not None:
                paths |= {f"tokenizer/{name}": words / name for name in FILES}
            paths[f"model/{root.name}"] = root
            spec = replace(spec, model=f"model/{root.name}", tokenizer_folders=("tokenizer",))

    def add(folder: str, path: str) -> str:
        name = f"{folder}/{Path(path).name}"
        file = Path(path)
        inside = [one for one in file.rglob("*") if one.is_file()] if file.is_dir() else [file]
        for one in inside:
            paths[name if one == file else f"{name}/{one.relative_to(file).as_posix()}"] = one
        return name

    spec = replace(
        spec,
        vae=None if spec.vae is None else add("vae", spec.vae),
        loras=tuple(
            replace(lora, path=add(f"loras/{number}", lora.path))
            for number, lora in enumerate(spec.loras)
        ),
        embeddings=tuple(
            (name, add(f"embeddings/{number}", path))
            for number, (name, path) in enumerate(spec.embeddings)
        ),
    )
    if not paths:
        return None
    return Parcel(spec, {name: _send(path, put) for name, path in paths.items()})


def unpack(parcel: Parcel, cache: Path, get: Callable[[Any], Any]) -> ModelSpec:
    """Write the files, unless another worker of the node has, and say how to load them.

    Args:
        parcel: of `pack`.
        cache: folder of the node in which those of all models lie.
        get: the array behind a reference.

    Raises:
        UnsupportedModel: a file that arrived is not the one that was sent.
    """
    folder = cache / parcel.digest
    with _alone(cache, parcel.digest):
        for name, file in parcel.files.items():
            path = folder / name
            if not path.is_file():  # once it has its name, it was checked
                _receive(path, file, get)

    def place(path: str) -> str:
        return str(folder / path)

    spec = parcel.spec
    return replace(
        spec,
        model=spec.model if spec.model == DEMO else place(spec.model),
        vae=None if spec.vae is None else place(spec.vae),
        loras=tuple(replace(lora, path=place(lora.path)) for lora in spec.loras),
        embeddings=tuple((name, place(path)) for name, path in spec.embeddings),
        tokenizer_folders=tuple(map(place, spec.tokenizer_folders)),
    )


def _send(path: Path, put: Callable[[Any], Any]) -> Sent:
    import numpy as np

    def chunks() -> Iterator[Any]:
        with path.open("rb") as file:
            while content := file.read(CHUNK):
                yield put(np.frombuffer(content, np.uint8))

    return Sent(digest_file(path), tuple(chunks()))


def _receive(path: Path, file: Sent, get: Callable[[Any], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{PARTIAL}{path.name}"
    digest = hashlib.sha256()
    with partial.open("wb") as written:
        for chunk in file.chunks:
            content = get(chunk).data
            digest.update(content)
            written.write(content)
    if digest.hexdigest() != file.digest:
        raise UnsupportedModel(
            f"{path.name} as it was sent, of SHA-256 {file.digest}",
            f"{digest.hexdigest()}",
            "It was changed while it was sent: run again.",
        )
    partial.replace(path)


@contextmanager
def _alone(cache: Path, name: str) -> Iterator[None]:
    """One process of the node at a time; a lock that a crash leaves behind is open."""
    import fcntl

    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
