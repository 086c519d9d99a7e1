"""A UNet compiled by torch for each shape of its calls."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..errors import InvalidRequest, MissingPackage, UnsupportedModel
from ..user_cache import user_cache

#: Where torch looks for the folder of what it has compiled; in a folder for all users otherwise,
#: which a restart empties.
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"

_log = logging.getLogger("batch_sdxl")


class CompiledUNet:
    """Calls a UNet through `torch.compile`, as one whole graph for each shape.

    What is compiled is kept on disk, so that another process has it in a fraction of the time.
    """

    def __init__(self, unet: Any, device: torch.device) -> None:
        """Compile nothing yet.

        Args:
            unet: a diffusers UNet2DConditionModel. On CUDA its weights come to lie channels last.
            device: that it runs on.
        """
        self._unet = unet
        self._device = device
        #: Threads -> what calls it: code for a CPU is made for a number of them.
        self._made: dict[int, Any] = {}

    @cached_property
    def compiler(self) -> str:
        """As `compiler_of`, read once: a run's code is made with the settings of its beginning."""
        return compiler_of(self._device)

    def __call__(self, **call: Any) -> torch.Tensor:
        """As `Backend.unet`, of one tensor (R, 77 N, C) as `encoder_hidden_states`.

        Raises:
            UnsupportedModel: the compiler cannot do it.
        """
        sample = call["sample"]
        if self._device.type == "cuda":
            call["sample"] = sample.contiguous(memory_format=torch.channels_last)
        with _room_for_shapes(), _kept(), _telling(sample), _refusals():
            (output,) = self._for_threads(torch.get_num_threads())(**call, return_dict=False)
        return torch.as_tensor(output)

    def _for_threads(self, threads: int) -> Any:
        if threads not in self._made:
            if self._device.type == "cuda":
                self._unet.to(memory_format=torch.channels_last)
            options: dict[str, Any] = {"deterministic": True, "cpp.threads": threads}
            self._made[threads] = torch.compile(
                self._unet, fullgraph=True, dynamic=False, options=options
            )
        return self._made[threads]


@contextmanager
def _room_for_shapes() -> Iterator[None]:
    """Torch gives up after some shapes, since most programs that have so many have too many."""
    with torch._dynamo.config.patch(recompile_limit=2**16, accumulated_recompile_limit=2**16):
        yield


@contextmanager
def _kept() -> Iterator[None]:
    """Keeps what is compiled in the user's cache folder, unless somebody chose another."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    found = os.environ.get(_FOLDER)
    if found in (None, default_cache_dir()):  # which torch itself writes there
        os.environ[_FOLDER] = str(user_cache() / "compiled")
    try:
        yield
    finally:
        if found is None:
            os.environ.pop(_FOLDER, None)
        else:
            os.environ[_FOLDER] = found


@contextmanager
def _telling(sample: torch.Tensor) -> Iterator[None]:
    """Says so when a compilation begins, so that nobody takes the run for stuck."""
    from torch._dynamo.callback import callback_handler

    _, _, height, width = sample.shape
    text = f"Compiling the UNet for images of {8 * width} x {8 * height}: a minute or more, once."
    tell = callback_handler.register_start_callback(lambda _: _log.warning(text))
    try:
        yield
    finally:
        callback_handler.remove_start_callback(tell)


@contextmanager
def _refusals() -> Iterator[None]:
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UnsupportedModel(
            "a UNet that torch can compile whole", f"`{said[:200]}`", "Load it without `compiled`."
        ) from error


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where it cannot be done.

    Raises:
        InvalidRequest: it is no device that code is made for here.
        MissingPackage: what compiles is not there.
    """
    if device.type not in ("cpu", "cuda"):
        raise InvalidRequest(
            "a CPU or CUDA for a compiled model", str(device), "Load it without `compiled`."
        )
    from torch._inductor import config

    if not hasattr(config, "deterministic"):
        raise MissingPackage(
            "a torch that compiles the same way each time, 2.10 or newer, for a compiled model",
            torch.__version__,
            "Update it, or load the model without `compiled`.",
        )
    compiler_of(device)


def compiler_of(device: torch.device) -> str:
    """What makes the code, with its version and settings; of it, bits depend on nothing else.

    Raises:
        MissingPackage: it is not there.
    """
    maker = _cpp() if device.type == "cpu" else f"{_triton()}, channels_last"
    return f"inductor {_settings()}, {maker}"


def _settings() -> str:
    """A name for those that a program has given the compiler: torch's own key for what it keeps."""
    from torch._inductor import config

    text = json.dumps(config.save_config_portable(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _triton() -> str:
    try:
        return f"triton {import_module('triton').__version__}"
    except ImportError as error:
        raise MissingPackage(
            "triton, which makes the code of a compiled model on CUDA",
            f"none ({error})",
            "Install it (`pip install triton`; on Windows `triton-windows`), or load the model "
            "without `compiled`.",
        ) from error


def _cpp() -> str:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    action = (
        "Install them (`apt install g++ python3-dev` on Debian and Ubuntu), or load the model "
        "without `compiled`."
    )
    expected = "a C++ compiler and Python's headers for a compiled model on a CPU"
    try:
        compiler = get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise MissingPackage(expected, "no compiler", action) from error
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise MissingPackage(expected, "no Python.h", action)
    return _version(compiler)


@cache
def _version(compiler: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    said = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, env=environment, check=False
    )
    first, *_ = f"{said.stdout or said.stderr}\n".splitlines()
    return first[:60]
