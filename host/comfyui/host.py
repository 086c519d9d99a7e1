"""ComfyUI's folders, and its ways to tell a person something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.engine.progress import Pace
from ...core.errors import OutOfMemory
from ..base import EXAMPLES, Host, ProgressDisplay
from .progress import ComfyProgress, check_cancelled, send_text

if TYPE_CHECKING:
    from ...core.models.model import Model


class ComfyHost(Host):
    """ComfyUI's folders, device, progress bar and Cancel."""

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

    def placement(self) -> dict[str, Any]:
        """ComfyUI's device, where it keeps weights that are not at work, and a dtype for it.

        It knows on which cards half precision is broken or slow, and obeys --force-fp32.
        """
        import comfy.model_management as manager

        device = manager.get_torch_device()
        dtype = "fp16" if manager.should_use_fp16(device) else "fp32"
        if dtype == "fp32" and manager.should_use_bf16(device):
            dtype = "bf16"
        return {"device": device, "home": manager.unet_offload_device(), "dtype": dtype}

    @contextmanager
    def holding(self, model: Model, memory: int) -> Iterator[None]:
        """As one of the models that ComfyUI moves; nothing of ComfyUI's runs within the block."""
        from .memory import hold, release

        try:
            hold(model, memory)
            yield
        except OutOfMemory:
            release(model)
            raise

    def saves_metadata(self) -> bool:
        """False when ComfyUI runs with --disable-metadata."""
        from comfy.cli_args import args

        return not args.disable_metadata

    def check_cancelled(self) -> None:
        """Stop if Cancel was pressed.

        Raises:
            comfy.model_management.InterruptProcessingException: it was.
        """
        check_cancelled()

    def tell(self, text: str, node_id: str) -> None:
        """Text on the node."""
        send_text(text, node_id)

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> ProgressDisplay:
        """ComfyUI's progress bar, and text and preview on the node."""
        return ComfyProgress(total_steps, Pace(total_steps, total_images, kept), node_id)
