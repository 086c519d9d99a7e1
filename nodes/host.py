"""What a node asks of the program that runs it: folders, progress, interruption.

This is the only module that imports ComfyUI. Elsewhere (tests, Python, the command line) a plain
`Host` answers, and a program may put its own in place with `use`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

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


class ComfyHost(Host):
    """ComfyUI's folders, progress bar and Cancel."""

    def input_folders(self) -> list[Path]:
        """ComfyUI's input folder, then the pack's examples."""
        import folder_paths

        return [Path(folder_paths.get_input_directory()), EXAMPLES]

    def output_folder(self) -> Path:
        """ComfyUI's output folder."""
        import folder_paths

        return Path(folder_paths.get_output_directory())

    def temp_folder(self) -> Path | None:
        """ComfyUI's folder for previews, which it empties when it starts."""
        import folder_paths

        return Path(folder_paths.get_temp_directory())

    def show(self, node_id: str, ui: dict[str, list[str]]) -> None:
        """An event of the pack's own, to the browser that started the run."""
        from server import PromptServer

        server = PromptServer.instance
        if server.client_id is not None:  # else it would go to every browser
            server.send_sync("batch_sdxl.show", {"node": node_id, "output": ui}, server.client_id)

    def model_names(self) -> list[str]:
        """Checkpoints, and diffusers folders, below ComfyUI's model folders."""
        return [*self.file_names("checkpoints"), *self._diffusers()]

    def model_path(self, name: str) -> Path:
        """The file or folder of that name below ComfyUI's model folders."""
        return self._diffusers().get(name) or self.file_path("checkpoints", name)

    def _diffusers(self) -> dict[str, Path]:
        import folder_paths

        return {
            folder.relative_to(root).as_posix(): folder
            for root in map(Path, folder_paths.get_folder_paths("diffusers"))
            for folder in sorted(index.parent for index in root.glob("**/model_index.json"))
        }

    def file_names(self, kind: str) -> list[str]:
        """Those in ComfyUI's folders of that kind, subfolders included."""
        import folder_paths

        names: list[str] = folder_paths.get_filename_list(kind)
        return [name for name in names if name.endswith(".safetensors")]

    def file_path(self, kind: str, name: str) -> Path:
        """The file of that name in ComfyUI's folders of that kind."""
        import folder_paths

        return Path(folder_paths.get_full_path(kind, name) or name)

    def tokenizer_folders(self) -> list[Path]:
        """The tokenizer of ComfyUI's own SDXL."""
        import comfy.sd1_clip

        return [Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"]

    def saves_metadata(self) -> bool:
        """False when ComfyUI runs with --disable-metadata."""
        from comfy.cli_args import args

        return not args.disable_metadata

    def tell(self, text: str, node_id: str) -> None:
        """Text on the node."""
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, node_id)

    def progress(self, total_steps: int, total_images: int) -> Progress:
        """ComfyUI's progress bar of the node that runs."""
        return ComfyProgress(total_steps)


class ComfyProgress(Progress):
    """ComfyUI's progress bar; every update is also a place where Cancel stops the run."""

    def __init__(self, total_steps: int) -> None:
        """Start a bar of that many steps."""
        from comfy.utils import ProgressBar

        self._bar = ProgressBar(total_steps)

    def update(self, steps: int, images: int) -> None:
        """Move the bar.

        Raises:
            comfy.model_management.InterruptProcessingException: the user pressed Cancel.
        """
        import comfy.model_management

        self._bar.update_absolute(steps)
        # Newer ComfyUI throttles the bar and with it its own check.
        comfy.model_management.throw_exception_if_processing_interrupted()


_current: ContextVar[Host | None] = ContextVar("host", default=None)


def current() -> Host:
    """The host in charge: the one of `use`, else ComfyUI where it runs, else a plain one."""
    host = _current.get()
    if host is not None:
        return host
    return ComfyHost() if "folder_paths" in sys.modules else Host()


@contextmanager
def use(host: Host) -> Iterator[None]:
    """Put `host` in charge within the block."""
    token = _current.set(host)
    try:
        yield
    finally:
        _current.reset(token)
