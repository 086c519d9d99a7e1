"""What a node asks of the program that runs it: folders, progress, interruption.

In ComfyUI `nodes/comfyui` answers. Elsewhere (tests, Python, the command line) a plain `Host` does,
and a program may put its own in place with `use`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.models.model import Model

#: Pictures that the example workflows read, found wherever the pack is installed.
EXAMPLES = Path(__file__).resolve().parents[1] / "example_workflows"


class Host:
    """A program without folders of its own: it reads and writes below the working directory."""

    def input_folders(self) -> list[Path]:
        """Folders that input files are looked up in, first match wins."""
        return [Path.cwd(), EXAMPLES]

    def output_folder(self) -> Path:
        """Folder that results are written below."""
        return Path.cwd() / "output"

    def temp_folder(self) -> Path | None:
        """Folder of files that only a browser reads, None where there is no browser."""
        return None

    def show(self, node_id: str, ui: dict[str, list[str]]) -> None:
        """Show on a node that is about to fail what its `ui` would: errors leave that out."""

    def model_names(self) -> list[str]:
        """Names of models in the host's own folders, beside the built-in one."""
        return []

    def model_path(self, name: str) -> Path:
        """Where a name of `model_names` (or a path a person typed) lies."""
        return Path(name)

    def file_names(self, kind: str) -> list[str]:
        """Names of .safetensors files in the host's folders of a kind: `vae`, `loras`."""
        return []

    def file_path(self, kind: str, name: str) -> Path:
        """Where a name of `file_names` (or a path a person typed) lies."""
        return Path(name)

    def tokenizer_folders(self) -> list[Path]:
        """Folders with CLIP's tokenizer that the host brings along."""
        return []

    @contextmanager
    def holding(self, model: Model) -> Iterator[None]:
        """Have a model's weights on its device within the block."""
        yield

    def saves_metadata(self) -> bool:
        """Whether files may carry prompts and the graph that made them."""
        return True

    def tell(self, text: str, node_id: str) -> None:
        """Show a line of text to the person, on the node of that id where there is a screen."""

    def progress(self, total_steps: int, total_images: int) -> Progress:
        """A new progress display for a run of that many UNet steps and images."""
        return Progress()


class Progress:
    """Receives how far a run is. The plain one shows nothing."""

    def update(self, steps: int, images: int) -> None:
        """Tell that so many steps and images are done in all.

        Raises:
            BaseException: whatever the host uses to stop a run; it must be let through.
        """


_current: ContextVar[Host | None] = ContextVar("host", default=None)


def current() -> Host:
    """The host in charge: the one of `use`, else ComfyUI where it runs, else a plain one."""
    host = _current.get()
    if host is not None:
        return host
    if "folder_paths" not in sys.modules:
        return Host()
    from .comfyui.host import ComfyHost

    return ComfyHost()


@contextmanager
def use(host: Host) -> Iterator[None]:
    """Put `host` in charge within the block."""
    token = _current.set(host)
    try:
        yield
    finally:
        _current.reset(token)
