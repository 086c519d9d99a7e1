"""A worker's process, before it has found this package.

In ComfyUI a pack is no package that Python would find: its name is the path of its folder. So Ray
is sent this class as it is written here, and what comes in by name afterwards finds the package
under the name that it has where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class BatchSDXLWorker:
    """Has a worker, and passes on what it is asked. Lists of processes call it so."""

    def __init__(
        self, package: str, folder: str, kind: str, name: str, threads: int | None
    ) -> None:
        """Start the worker.

        Args:
            package: name of this package where the work comes from.
            folder: of it there; where it is not here too, the one that is installed is taken.
            kind: of worker, as `module:class`.
            name: as of `Worker`.
            threads: likewise.
        """
        import importlib.util
        import sys
        from pathlib import Path

        self._name = name
        if package != "batch_sdxl":
            if not (Path(folder) / "__init__.py").is_file():
                installed = importlib.util.find_spec("batch_sdxl")
                if installed is None or not installed.submodule_search_locations:
                    raise ModuleNotFoundError(f"neither {folder} nor batch_sdxl is there")
                (folder,) = installed.submodule_search_locations
            spec = importlib.util.spec_from_file_location(package, Path(folder) / "__init__.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[package] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[package])
        module, _, wanted = kind.partition(":")
        self._worker = getattr(importlib.import_module(module), wanted)(name, threads)

    def __repr__(self) -> str:
        """As Ray's dashboard and logs call it."""
        return self._name

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the worker returns."""
        return getattr(self._worker, method)(*arguments)

    def stream(self, method: str, argument: Any) -> Iterator[Any]:
        """What a method of the worker yields."""
        yield from getattr(self._worker, method)(argument)
