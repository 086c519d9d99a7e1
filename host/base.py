"""What a node asks of the program that runs it: folders, progress, interruption."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import BatchSDXLError, InvalidWorkflow
from .workers import ALL

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.engine.backend import Backend
    from ..core.engine.engine import Engine
    from ..core.models.model import Model
    from ..core.store.store import ImageStore
    from .engine_settings import EngineSettings
    from .gallery import GalleryFolders

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
        """Folder of large files that no later run needs, None for the system's own."""
        return None

    def galleries(self) -> GalleryFolders | None:
        """Where pictures to choose of lie, None where there is no browser."""
        return None

    def store(self) -> ImageStore | None:
        """Where finished images are kept, so that no run makes them again; None to keep none."""
        return None

    def draw_origin(self) -> str:
        """What seeds of -1 are drawn by, so that they stay until a person asks for others.

        Empty where each run draws its own.
        """
        return ""

    def completes_files(self) -> bool:
        """Whether a run adds to the files of an earlier one of the same images what is missing.

        Otherwise it writes all of them once more, under other names, as ComfyUI's own nodes do.
        """
        return False

    def show(self, node_id: str, ui: dict[str, list[str]]) -> None:
        """Show on a node that is about to fail what its `ui` would: errors leave that out."""

    def blocked(self) -> Any:
        """What an output is given so that the nodes behind it do not run, and nothing fails.

        None where a person has no second run to choose in: there, to choose nothing is an error.
        """
        return None

    def model_names(self) -> list[str]:
        """Names of models in the host's own folders, beside the built-in one."""
        return []

    def model_path(self, name: str) -> Path:
        """Where a name of `model_names` (or a path a person typed) lies."""
        return Path(name)

    def file_names(self, kind: str) -> list[str]:
        """Names of the host's .safetensors files of a kind: `vae`, `loras`, `embeddings`."""
        return []

    def file_path(self, kind: str, name: str) -> Path:
        """Where a name of `file_names` (or a path a person typed) lies."""
        return Path(name)

    def tokenizer_folders(self) -> list[Path]:
        """Folders with CLIP's tokenizer that the host brings along."""
        return []

    def placement(self) -> dict[str, Any]:
        """What `load_model` is told: `device`, `home`, and the `dtype` that auto stands for."""
        return {}

    def own_model(self, model: Any, clip: Any, vae: Any, name: str, *, unpromised: bool) -> Backend:
        """What the host's own loaders gave, as the engine runs it.

        Args:
            model: its UNet and what is patched about it.
            clip: its text encoders.
            vae: its VAE.
            name: for people, of the file that it was loaded from.
            unpromised: run it too if an image may depend on more than its request; records say so.

        Raises:
            InvalidWorkflow: the host has no loaders of its own.
            UnsupportedModel: it is not one that the engine can run.
        """
        raise InvalidWorkflow(
            "ComfyUI, whose loaders the model comes from",
            "another program",
            "Run it there, or load the model with Load SDXL.",
        )

    def engine(
        self,
        model: Model | Backend,
        settings: EngineSettings,
        *,
        devices: str,
        node_id: str,
    ) -> Engine:
        """What makes images of a model; another one where others make them.

        Args:
            model: of Load SDXL or Apply LoRA.
            settings: of the engine.
            devices: of `DEVICES`.
            node_id: of the node that runs.

        Raises:
            BatchSDXLError: there are no workers, or they cannot have the model.
        """
        from ..core.engine.engine import Engine

        self.check_devices(devices)
        return Engine(model, geometry=settings.geometry, vae_tile=settings.vae_tile)

    def check_devices(self, devices: str) -> None:
        """See that images can be made there.

        Args:
            devices: of `DEVICES`.

        Raises:
            BatchSDXLError: something that it takes is missing.
        """
        if devices == ALL:
            raise InvalidWorkflow(
                "ComfyUI or the command line, which start workers",
                "another program",
                "Set `devices` to one.",
            )

    @contextmanager
    def holding(
        self, model: Model | Backend, memory: int, *, elsewhere: bool = False
    ) -> Iterator[None]:
        """Have a model's weights on its device within the block.

        Args:
            model: of Load SDXL or Apply LoRA, or of `own_model`.
            memory: bytes that the block needs beside the weights.
            elsewhere: whether workers have the weights instead; on that device too.

        Raises:
            OutOfMemory: there is not enough.
        """
        yield

    def saves_metadata(self) -> bool:
        """Whether files may carry prompts and the graph that made them."""
        return True

    def spelled(self, error: BatchSDXLError) -> BatchSDXLError | str:
        """What refuses a node's inputs, as the host can show it."""
        return error

    def check_cancelled(self) -> None:
        """Stop here if the person asked for it.

        Raises:
            BaseException: whatever the host uses to stop a run; it must be let through.
        """

    def tell(self, text: str, node_id: str) -> None:
        """Show a line of text to the person, on the node of that id where there is a screen."""

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> ProgressDisplay:
        """A new progress display.

        Args:
            total_steps: UNet steps to be taken.
            total_images: of the run, those included that are there already.
            kept: how many are there already, for which no step is taken.
            node_id: of the node that runs.
        """
        return ProgressDisplay()


class ProgressDisplay:
    """Receives how far a run is. The plain one shows nothing.

    Attributes:
        shows_preview: whether it has a use for pictures of the batch.
    """

    shows_preview = False

    def update(self, steps: int, images: int, sheet: Image | None = None) -> None:
        """Tell how far the run is.

        Args:
            steps: done in all.
            images: there in all.
            sheet: the batch as it is now, RGB; None for no news of it.

        Raises:
            BaseException: whatever the host uses to stop a run; it must be let through.
        """

    def end(self, text: str, sheet: Image | None = None) -> None:
        """Show what has become of the run, well or not, in place of how far it is.

        Args:
            text: that says it.
            sheet: the batch as it is in the end, RGB; None where there is nothing to see.
        """
