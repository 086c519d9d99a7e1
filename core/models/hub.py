"""Models of the Hugging Face hub: from this machine's cache, else over the network.

Nothing is sent but for a repository that a person named, or for a tokenizer that is nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ModelNotFound, UnsupportedModel
from .folder import PARTS, PIECE, WEIGHTS, DiffusersFolder, peek, variant

#: Seconds to wait for the hub's first answer.
_PATIENCE = 10

_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)(?<!\.ckpt)")


def is_name(text: str) -> bool:
    """Whether a repository can be called that; a file that is missing is not meant."""
    return _NAME.fullmatch(text) is not None


def find_cached(repository: str) -> Path | None:
    """The folder of a model in this machine's cache, None unless all of it is there."""
    folder = _begun(repository)
    return None if folder is None or _lacks(folder) else folder


def fetch_model(repository: str, *, half: bool) -> Path:
    """The folder of a model, whose parts that are not in the cache are downloaded to it.

    Args:
        repository: its name, `owner/name`.
        half: whether to prefer weights in fp16; what is begun in another variant is completed.

    Raises:
        ModelNotFound: there is no such repository, it needs a login, or the hub is not reached.
        UnsupportedModel: it is not an SDXL model in diffusers' layout, or not a whole one.
    """
    files = list_files(repository)
    if "model_index.json" not in files:
        raise UnsupportedModel(
            "a repository in diffusers' layout, with model_index.json",
            f"{repository} without it",
            "Download its .safetensors file and give the path of that.",
        )
    texts = ["model_index.json"]
    texts += [name for part in PARTS for name in _of(part, files, r"[^/]+\.(json|txt)")]
    # Another kind of model is told before gigabytes are fetched.
    folder = fetch_files(repository, texts)
    DiffusersFolder(folder)
    weights = [name for part in PARTS for name in _weights(part, files, folder, half)]
    folder = fetch_files(repository, [*texts, *weights])
    if lacks := _lacks(folder):
        raise UnsupportedModel(
            "a whole SDXL model in .safetensors files",
            f"{repository} without {', '.join(lacks)}",
            "Use another model.",
        )
    return folder


def list_files(repository: str) -> list[str]:
    """The names of all files of a repository; the hub answers within seconds or is not reached.

    Raises:
        ModelNotFound: as `fetch_model`.
    """
    from huggingface_hub import HfApi

    with _asking(repository):
        siblings = HfApi().model_info(repository, timeout=_PATIENCE).siblings or []
    return [file.rfilename for file in siblings]


def fetch_files(repository: str, files: Sequence[str]) -> Path:
    """The folder with some files of a repository; those that are not cached are downloaded.

    Raises:
        ModelNotFound: as `fetch_model`.
    """
    from huggingface_hub import snapshot_download

    with _asking(repository):
        return Path(snapshot_download(repository, allow_patterns=list(files)))


def _begun(repository: str) -> Path | None:
    """The cached folder of a model, whole or not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(repository, "model_index.json")
    except HFValidationError:
        return None
    return Path(index).parent if isinstance(index, str) else None


def _lacks(folder: Path) -> list[str]:
    """Parts of a cached model that are not there, or not as a whole."""
    index = peek(folder / "model_index.json")
    parts = [name for name in PARTS if index.get(name) != [None, None]]
    return [name for name in parts if not _is_whole(folder / name)]


def _is_whole(part: Path) -> bool:
    # Files of an interrupted download are links to nowhere, or not there.
    names = {path.name for path in part.glob("*") if path.is_file()}
    if part.name == "scheduler":
        return "scheduler_config.json" in names
    if part.name.startswith("tokenizer"):
        return "tokenizer.json" in names or {"vocab.json", "merges.txt"} <= names
    ending = "safetensors.index.fp16.json" if variant(part) else "safetensors.index.json"
    indices = [name for name in names if name.endswith(ending)]
    pieces = {piece for name in indices for piece in _pieces(part / name)}
    whole = {name for name in names if WEIGHTS.fullmatch(name) and not PIECE.search(name)}
    return "config.json" in names and (pieces <= names if pieces else bool(whole))


def _pieces(index: Path) -> list[str]:
    """The files that an index names."""
    named = peek(index).get("weight_map")
    files = named.values() if isinstance(named, dict) else []
    return [file for file in files if isinstance(file, str)]


def _of(part: str, files: Sequence[str], pattern: str) -> list[str]:
    """The files of a part whose names are of a pattern."""
    return [name for name in files if re.fullmatch(f"{part}/{pattern}", name)]


def _weights(part: str, files: Sequence[str], folder: Path, half: bool) -> list[str]:
    """The weights of a part to have, in one variant."""
    there = _of(part, files, WEIGHTS.pattern)
    halves = [name for name in there if ".fp16" in name]
    full = [name for name in there if ".fp16" not in name]
    begun = any((folder / name).is_file() for name in full)
    return halves if halves and not begun and (half or not full) else full


@contextmanager
def _asking(repository: str) -> Iterator[None]:
    """Tell what goes wrong at the hub as an error of ours."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ModelNotFound(
            f"the model {repository}",
            "the Hugging Face hub's request to accept its conditions first",
            f"Accept them at https://huggingface.co/{repository}, then run `hf auth login`.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(
            "a file, a folder or a model of the Hugging Face hub",
            f"{repository}, which is none of them",
            "Check the name; for a private one, run `hf auth login`.",
        ) from error
    # The hub's client lets errors of its HTTP library through, another one in other versions.
    except Exception as error:
        cause = error.__cause__ or error
        offline = isinstance(cause, OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE is set" if offline else f"{type(cause).__name__}: {cause}"
        # The system's own errors have a number: the disk is full, for example.
        failed = "the hub not reached" if getattr(cause, "errno", None) is None else "no download"
        raise ModelNotFound(
            f"the model {repository}, in the Hugging Face cache or from the hub",
            f"{_state(repository)} in the cache, and {failed} ({reason.splitlines()[0]})",
            "Try again when that is mended, or give the folder of a copy.",
        ) from error


def _state(repository: str) -> str:
    folder = _begun(repository)
    return "none of it" if folder is None else f"it without {', '.join(_lacks(folder))}"
