"""ComfyUI's folders, and its ways to tell a person something."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.engine.progress import Pace
from ...core.errors import BatchSDXLError, ModelNotFound, OutOfMemory
from ...core.store.chosen import chosen_store
from ...core.whole_files import write_beside
from ...core.wording import meant
from ..base import EXAMPLES, Host, ProgressDisplay
from ..roots import resolve
from ..workers import ALL, Workers
from .progress import ComfyProgress, check_cancelled, send_text

if TYPE_CHECKING:
    from ...core.engine.backend import Backend
    from ...core.engine.engine import Engine
    from ...core.models.model import Model
    from ...core.store.store import ImageStore
    from ..engine_settings import EngineSettings
    from ..gallery import GalleryFolders

#: What ComfyUI's folders of a kind hold.
_KINDS = {
    "checkpoints": "a model",
    "vae": "a VAE",
    "loras": "a LoRA",
    "embeddings": "a textual inversion",
}


#: Signs that HTML has a use for -> others that look like them.
_LIKE = str.maketrans({"'": "’", '"': "”", "=": "＝", "/": "∕", "<": "‹", ">": "›", "&": "＆"})  # noqa: RUF001

#: What seeds are drawn by, unless an earlier server has left its own.
_SECRET = secrets.token_hex(16)


class ComfyHost(Host):
    """ComfyUI's folders, device, progress bar and Cancel.

    Attributes:
        workers: for what is to be made on all devices; they live as long as the server.
    """

    workers: ClassVar[Workers | None] = None

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

    def galleries(self) -> GalleryFolders:
        """Pictures in the folder for previews, lists in ComfyUI's user folder."""
        import folder_paths

        from ..gallery import GalleryFolders

        temp = Path(folder_paths.get_temp_directory())
        return GalleryFolders(temp / "batch_sdxl", _own_folder() / "galleries")

    def store(self) -> ImageStore | None:
        """A folder in ComfyUI's user folder, unless another was chosen."""
        return chosen_store(_own_folder() / "store")

    def draw_origin(self) -> str:
        """A secret in ComfyUI's user folder, so that draws outlive the server."""
        path = _own_folder() / "draws"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_beside(path, _SECRET.encode())
            return path.read_text("ascii")
        return _SECRET  # a folder that cannot be written costs no more than that

    def blocked(self) -> Any:
        """ComfyUI's own mark for it."""
        from comfy_execution.graph import ExecutionBlocker

        return ExecutionBlocker(None)

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
        """The file or folder of that name below ComfyUI's model folders.

        A name of the hub is one too where the model is in this machine's cache: a graph that was
        sent here has nothing downloaded.

        Raises:
            ModelNotFound: there is none.
        """
        from ...core.models.hub import find_cached, is_name

        path = self._diffusers().get(name) or self._find(name, "checkpoints", "diffusers")
        if path is not None:
            return path
        if is_name(name):
            if find_cached(name) is not None:
                return Path(name)
            raise ModelNotFound(
                f"the model {name} on this machine",
                "a graph that names it on the Hugging Face hub",
                f"Fetch it with `hf download {name}`, or choose one of the list.",
            )
        folders = self._folders("checkpoints", "diffusers")
        raise not_there("checkpoints", name, folders, self.model_names())

    def _diffusers(self) -> dict[str, Path]:
        return {
            folder.relative_to(root).as_posix(): folder
            for root in self._folders("diffusers")
            for folder in sorted(index.parent for index in root.glob("**/model_index.json"))
        }

    def file_names(self, kind: str) -> list[str]:
        """Those in ComfyUI's folders of that kind, subfolders included."""
        import folder_paths

        names: list[str] = folder_paths.get_filename_list(kind)
        return [name for name in names if name.endswith(".safetensors")]

    def file_path(self, kind: str, name: str) -> Path:
        """The file of that name in ComfyUI's folders of that kind.

        Raises:
            ModelNotFound: there is none.
        """
        path = self._find(name, kind)
        if path is None:
            raise not_there(kind, name, self._folders(kind), self.file_names(kind))
        return path

    def _find(self, name: str, *kinds: str) -> Path | None:
        """What a name means in the folders of some kinds, if it is one of ComfyUI's or lies there.

        Those that ComfyUI lists may be links to anywhere: whoever runs it put them there.
        """
        import folder_paths

        for kind in kinds:
            if name in folder_paths.get_filename_list(kind):
                path = folder_paths.get_full_path(kind, name)  # None for a link to nothing
                return Path(path) if path else self._folders(kind)[0] / name
        return resolve(name, self._folders(*kinds))

    def _folders(self, *kinds: str) -> list[Path]:
        import folder_paths

        return [Path(root) for kind in kinds for root in folder_paths.get_folder_paths(kind)]

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

    def own_model(self, model: Any, clip: Any, vae: Any, name: str, *, unpromised: bool) -> Backend:
        """A MODEL, CLIP and VAE."""
        from .own_models.model import ComfyModel

        return ComfyModel(model, clip, vae, name, unpromised=unpromised)

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings,
        *,
        devices: str,
        node_id: str,
    ) -> Engine:
        """That of the workers, where all devices are asked for."""
        if devices == ALL and self.workers is not None:
            return self.workers.engine(
                model,
                settings,
                tell=lambda text: self.tell(text, node_id),
                check=check_cancelled,
            )
        return super().engine(model, settings, devices=devices, node_id=node_id)

    def check_devices(self, devices: str) -> None:
        """All that are there take workers.

        Raises:
            BatchSDXLError: they cannot be had.
        """
        if devices == ALL and self.workers is not None:
            self.workers.check()
        else:
            super().check_devices(devices)

    @contextmanager
    def holding(
        self, model: Model | Backend, memory: int, *, elsewhere: bool = False
    ) -> Iterator[None]:
        """As one of the models that ComfyUI moves; nothing of ComfyUI's runs within the block."""
        from ...core.models.model import Model
        from .memory import hold, hold_for, release
        from .own_models.model import ComfyModel

        try:
            if elsewhere:
                assert self.workers is not None
                assert isinstance(model, Model)
                hold_for(self.workers, model, memory)
            elif isinstance(model, Model):
                hold(model, memory)
            elif isinstance(model, ComfyModel):  # ComfyUI's already
                model.reserve(memory)
            yield
        except OutOfMemory:
            release(model)
            raise

    def saves_metadata(self) -> bool:
        """False when ComfyUI runs with --disable-metadata."""
        from comfy.cli_args import args

        return not args.disable_metadata

    def spelled(self, error: BatchSDXLError) -> str:
        """Without signs that ComfyUI's panel of errors shows as `&amp;amp;apos;` and the like."""
        text = re.sub(r"(?<!\w)'([^']*)'", "‘\\1’", str(error))  # noqa: RUF001
        text = re.sub(r'"([^"]*)"', "“\\1”", text)
        return text.translate(_LIKE)

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


def _own_folder() -> Path:
    """What the pack keeps."""
    import folder_paths

    return Path(folder_paths.get_user_directory()) / "batch_sdxl"


def not_there(kind: str, name: str, folders: Sequence[Path], names: Iterable[str]) -> ModelNotFound:
    """The error of a name that ComfyUI's folders do not have.

    Args:
        kind: of the folders: `checkpoints`, `vae`, `loras`, `embeddings`.
        name: what was asked for.
        folders: that were looked in.
        names: what is there.
    """
    near = meant(name, names)
    return ModelNotFound(
        f"{_KINDS[kind]} below {' or '.join(map(str, folders))}",
        f'"{name}"',
        f"{near} Choose one of the list, or put it there.".strip(),
    )
