"""What a model of ComfyUI's is made of, and the name of that.

Of the weights as they were loaded, of all patches, and of the functions that take part: by content,
since ComfyUI says of none where it came from. Of a function that is its code, what it closes over
and its defaults; not that of other functions that it calls by name.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import torch

from ....core.errors import UnsupportedModel

_TELLING = "a model of which all can be told apart by its content"
_STEADY = "a model whose kernels do not depend on what was run before"

#: What is told by its text.
_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, Enum, range, slice),
    *(torch.dtype, torch.device, torch.Size),
)

#: Module -> SHA-256 of its weights, gigabytes that are read once.
_read: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()

#: Function -> SHA-256 of what it was when it was first seen: some keep things while they run.
_seen: WeakKeyDictionary[types.FunctionType, str] = WeakKeyDictionary()


def state_of(model: Any) -> str:
    """SHA-256 of what a ModelPatcher's functions hold now, but for what can't be told apart."""
    content = _Content(Unknown(is_allowed=True), is_now=True)
    content.add("options", model.model_options)
    return content.digest()


class Unknown:
    """What of a model cannot be promised.

    Attributes:
        names: of it, as far as it was let pass.
    """

    def __init__(self, is_allowed: bool) -> None:
        """Let it pass, or refuse it."""
        self._is_allowed = is_allowed
        self.names: list[str] = []

    def note(self, expected: str, got: str) -> None:
        """Take note of something.

        Raises:
            UnsupportedModel: it is not to pass.
        """
        if not self._is_allowed:
            raise UnsupportedModel(
                expected,
                got,
                "Take that node out from before Model From ComfyUI, or turn on `unpromised` there: "
                "then it is written into the files.",
            )
        if got not in self.names:
            self.names.append(got)


def digest_of(model: Any, clip: Any, vae: Any, unknown: Unknown) -> str:
    """SHA-256 over all of them, in hexadecimal.

    Args:
        model: a ModelPatcher.
        clip: a CLIP.
        vae: a VAE.
        unknown: is told what has no content to tell it apart by.

    Raises:
        UnsupportedModel: as `Unknown.note`.
    """
    content = _Content(unknown)
    content.add("unet", model.model.model_config.unet_config)
    _add_patcher(content, model)
    _add_patcher(content, clip.patcher)
    content.add("layer", clip.layer_idx)
    content.add("tokenizer options", clip.tokenizer_options)
    for name, tokenizer in sorted(vars(clip.tokenizer).items()):
        plain = {
            key: value
            for key, value in vars(tokenizer).items()
            if isinstance(value, bool | int | str | None) and not key.endswith("directory")
        }
        words = getattr(tokenizer, "inv_vocab", None)  # number -> word, 50,000 of them: as one text
        content.add(name, [plain, words and repr(sorted(words.items()))])
    _add_patcher(content, vae.patcher)
    return content.digest()


def _add_patcher(content: _Content, patcher: Any) -> None:
    content.add("weights", _weights(patcher, content))
    content.add("patches", patcher.patches)
    content.add("objects", patcher.object_patches)
    content.add("around weights", getattr(patcher, "weight_wrapper_patches", {}))
    content.add("options", patcher.model_options)
    content.add("callbacks", patcher.callbacks)
    content.add("wrappers", patcher.wrappers)


def _weights(patcher: Any, whole: _Content) -> str:
    """Of the weights beneath the patches, which lie in ComfyUI's backup while it is patched."""
    module = patcher.model
    if module not in _read:

        def digest(named: tuple[str, torch.Tensor]) -> str:
            name, tensor = named
            kept = patcher.backup.get(name)
            own = _Content(whole.unknown)
            own.add(name, tensor if kept is None else kept.weight)
            return own.digest()

        # The noise of `model_sampling` is told otherwise, and may be another while it is patched.
        tensors = sorted(
            named
            for named in (*module.named_parameters(), *module.named_buffers())
            if not named[0].startswith("model_sampling.")
        )
        content = _Content(whole.unknown)
        content.add("class", _name(type(module)))
        with ThreadPoolExecutor() as pool:  # of SDXL in fp32 it is 12 GB, and 12 s in one thread
            content.add("tensors", list(pool.map(digest, tensors)))
        _read[module] = content.digest()
    return _read[module]


class _Content:
    """Takes in values by what they hold."""

    def __init__(self, unknown: Unknown, *, is_now: bool = False) -> None:
        self.unknown = unknown
        self._is_now = is_now
        self._sha256 = hashlib.sha256()
        self._within: list[int] = []

    def digest(self) -> str:
        return self._sha256.hexdigest()

    def add(self, name: str, value: Any) -> None:
        """Take in a value and the name of its place."""
        self._tell("name", name)
        self._add(value, name)

    def _tell(self, kind: str, text: object) -> None:
        data = str(text).encode("utf-8", "surrogatepass")
        self._sha256.update(f"{kind} {len(data)}:".encode() + data)

    def _add(self, value: Any, place: str) -> None:
        if isinstance(value, torch.Tensor):
            self._add_tensor(value, place)
        elif isinstance(value, UUID):  # a name for a moment
            self._tell("uuid", "")
        elif isinstance(value, _PLAIN):
            self._tell(type(value).__name__, repr(value))
        elif isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
            self._tell("name", _name(value))
        elif id(value) in self._within:
            self._tell("above", len(self._within) - self._within.index(id(value)))
        else:
            self._within.append(id(value))
            self._add_parts(value, place)
            self._within.pop()

    def _add_parts(self, value: Any, place: str) -> None:
        self._tell("a", _name(type(value)))
        if isinstance(value, Mapping):
            self._add_all(sorted(value.items(), key=lambda item: repr(item[0])), place)
        elif isinstance(value, list | tuple):
            self._add_all(value, place)
        elif isinstance(value, Set):
            self._add_all(sorted(value, key=repr), place)
        elif isinstance(value, types.CodeType):
            self._add_all((value.co_code, value.co_names, value.co_consts), place)
        elif isinstance(value, types.FunctionType):
            self._add_function(value, place)
        elif isinstance(value, types.MethodType):
            self._add_all((value.__func__, value.__self__), place)
        elif isinstance(value, partial):
            self._add_all((value.func, value.args, value.keywords), place)
        elif isinstance(value, torch.nn.Module):
            self._add_module(value, place)
        elif hasattr(value, "__dict__") and type(value).__module__ != "builtins":
            self._add(vars(value), f"{place} ({_name(type(value))})")
        else:
            self.unknown.note(_TELLING, f"a {_name(type(value))} in its {place}")

    def _add_module(self, module: torch.nn.Module, place: str) -> None:
        if hasattr(module, "_orig_mod"):
            # Which kernel a size gets depends on the sizes before it; the weights are told already.
            self.unknown.note(_STEADY, f"a {type(module._orig_mod).__name__} under torch.compile")
            return
        tensors = [*module.named_parameters(), *module.named_buffers()]
        self._add_all(sorted(tensors, key=lambda item: item[0]), place)

    def _add_function(self, function: types.FunctionType, place: str) -> None:
        if self._is_now:
            cells = [_content_of(cell) for cell in function.__closure__ or ()]
            own = (function.__code__, cells, function.__defaults__, function.__kwdefaults__)
            self._add_all((_name(function), *own), f"{place} ({_name(function)})")
            return
        if function not in _seen:
            noted = len(self.unknown.names)
            content = _Content(self.unknown, is_now=True)
            content.add("function", function)
            if len(self.unknown.names) > noted:  # to be noted again
                self._tell("function", content.digest())
                return
            _seen[function] = content.digest()
        self._tell("function", _seen[function])

    def _add_all(self, values: Any, place: str) -> None:
        for value in values:
            self._add(value, place)

    def _add_tensor(self, tensor: torch.Tensor, place: str) -> None:
        self._tell("tensor", f"{_name(type(tensor))} {tensor.dtype} {tuple(tensor.shape)}")
        if tensor.is_meta:
            self.unknown.note(_TELLING, f"numbers of {place} that lie nowhere")
            return
        # Quantised ones are made of tensors, or say in attributes what their numbers mean.
        if hasattr(tensor, "__tensor_flatten__"):
            names, how = tensor.__tensor_flatten__()
            self._add_all([how, *(getattr(tensor, name) for name in names)], place)
            return
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            self._add_all(sorted(vars(tensor).items()), place)
        data = tensor.detach().cpu().contiguous().as_subclass(torch.Tensor)
        self._sha256.update(data.flatten().view(torch.uint8).numpy().data)


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was put into it yet
        return None


def _name(value: Any) -> str:
    """Without folders: packs of nodes are modules whose name is a path."""
    full = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    return full.replace("\\", "/").rpartition("/")[2]
