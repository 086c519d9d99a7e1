"""ComfyUI's progress bar, its text and preview on a node, and its Cancel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...core.engine.progress import Pace
from ..base import ProgressDisplay

if TYPE_CHECKING:
    from PIL.Image import Image

#: Seconds between two texts at least: more often, nobody can read them.
PERIOD = 0.5


class ComfyProgress(ProgressDisplay):
    """What a person sees of a run.

    No update is a place where Cancel stops it: a run that has finished images in hand would lose
    them. Whoever runs asks `check_cancelled` where there are none.
    """

    def __init__(self, total_steps: int, pace: Pace, node_id: str) -> None:
        """Start a bar of that many steps.

        Args:
            total_steps: of the bar.
            pace: of the run, which has not begun.
            node_id: of the node that text is shown on; empty for no text.
        """
        from comfy.cli_args import LatentPreviewMethod, args
        from comfy.utils import ProgressBar

        # The setting of this prompt, if it has its own: ComfyUI writes that into its arguments.
        self.shows_preview = args.preview_method != LatentPreviewMethod.NoPreviews
        self._bar = ProgressBar(total_steps)
        self._pace = pace
        self._node_id = node_id
        self._told = 0.0
        self._steps = 0

    def update(self, steps: int, images: int, sheet: Image | None = None) -> None:
        """Move the bar; show the text now and then, and a preview if there is one."""
        self._steps = steps
        self._move(sheet)
        self._pace.update(steps)
        now = time.monotonic()
        if now - self._told >= PERIOD:
            self._told = now
            send_text(self._pace.describe(images), self._node_id)

    def end(self, text: str, sheet: Image | None = None) -> None:
        """Text on the node, and the last preview."""
        if sheet is not None:
            self._move(sheet)
        send_text(text, self._node_id)

    def _move(self, sheet: Image | None) -> None:
        import comfy.model_management as manager

        try:
            # No limit of size: the sheet has its own.
            self._bar.update_absolute(self._steps, preview=sheet and ("JPEG", sheet, None))
        except manager.InterruptProcessingException:
            manager.interrupt_current_processing()  # the bar has taken it back by raising


def check_cancelled() -> None:
    """Stop if Cancel was pressed.

    Raises:
        comfy.model_management.InterruptProcessingException: it was.
    """
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


def send_text(text: str, node_id: str) -> None:
    """Show text on a node, in the browser that started the run."""
    from server import PromptServer

    server = PromptServer.instance
    if node_id and server.client_id is not None:  # else it would go to every browser
        server.send_progress_text(text, node_id, server.client_id)
