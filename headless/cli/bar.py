"""How far a run is, on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display
from rich.text import Text

from ...host.base import ProgressDisplay

if TYPE_CHECKING:
    from PIL.Image import Image

#: Seconds between two lines where there is no terminal to draw a bar on.
PERIOD = 5.0

#: Seconds until a line is said again that says nothing new.
REPEATED = 60.0


class Bar:
    """A progress bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        """Nothing is shown before `display`."""
        self._console = console
        self._display = Display(
            TextColumn("{task.fields[images]}/{task.fields[total_images]} images"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Bar:
        """Ready; the terminal is taken by the first `display`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._display.live.is_started:
            self._display.stop()

    def tell(self, text: str) -> None:
        """A line of text above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def display(self, total_steps: int, total_images: int) -> ProgressDisplay:
        """A new line for a run of that many UNet steps and images."""
        if not self._console.is_terminal:
            return _Lines(self._console, total_steps, total_images)
        self._display.start()
        task = self._display.add_task("", total=total_steps, images=0, total_images=total_images)
        return _Line(self._display, task)


class _Line(ProgressDisplay):
    def __init__(self, display: Display, task: TaskID) -> None:
        self._display = display
        self._task = task

    def update(self, steps: int, images: int, sheet: Image | None = None) -> None:
        self._display.update(self._task, completed=steps, images=images)


class _Lines(ProgressDisplay):
    def __init__(self, console: Console, total_steps: int, total_images: int) -> None:
        self._console = console
        self._total_steps = total_steps
        self._total_images = total_images
        self._last = time.monotonic()
        self._said = ""
        #: When the first steps were there: before, prompts are encoded and calls tried out.
        self._begun: tuple[float, int] | None = None

    def update(self, steps: int, images: int, sheet: Image | None = None) -> None:
        now = time.monotonic()
        if steps and self._begun is None:
            self._begun = now, steps
        if now - self._last < PERIOD and images < self._total_images:
            return
        speed = self._speed(steps, now)
        parts = [
            f"{images}/{self._total_images} images",
            f"{steps}/{self._total_steps} steps",
            *([f"{speed:.1f} steps/s"] if speed else []),
            *([self._left(steps, images, speed)] if images < self._total_images else []),
        ]
        line = ", ".join(parts)
        if line == self._said and now - self._last < REPEATED:
            return
        self._last, self._said = now, line
        self._console.print(line, highlight=False, soft_wrap=True)

    def _left(self, steps: int, images: int, speed: float) -> str:
        if not steps:
            return "starting"
        left = self._total_steps - steps
        if not left:
            return "decoding"
        return f"{left / speed:.0f} s left" if speed else "estimating the time left"

    def _speed(self, steps: int, now: float) -> float:
        """Steps a second since the first ones; 0 where nobody can tell yet."""
        start, first = self._begun or (now, steps)
        return (steps - first) / (now - start) if now > start else 0


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} steps/s")
