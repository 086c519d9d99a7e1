"""ComfyUI's progress bar, and its Cancel."""

from __future__ import annotations

from ..host import Progress


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
