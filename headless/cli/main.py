"""The command `batch-sdxl`."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Sequence

from ...core.errors import BatchSDXLError
from ..notes import left_by, notes_of
from .arguments import parser
from .signals import interrupt, received_by
from .streams import tolerant


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        The exit code: 0, 1 after an error of ours, 130 where it was stopped; of `verify` those of
        `verification`. (2, for wrong usage, is raised as SystemExit by argparse.)
    """
    # The end of the process frees its memory at once. Looking for garbage first, in all that the
    # libraries of models have made, takes Python more than a second.
    atexit.register(gc.freeze)
    with tolerant():
        return _run_command(argv)


def _run_command(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
        _quieten()
        with received_by(interrupt):
            return int(args.run(args))
    except BatchSDXLError as error:
        sys.stderr.write("".join(f"{where}:\n" for where in notes_of(error)))
        sys.stderr.write(f"Expected: {error.expected}\n")
        sys.stderr.write(f"Got:      {error.got}\n")
        sys.stderr.write(f"To do:    {error.action}\n")
        if left := left_by(error):
            sys.stderr.write(f"There is: {left}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"\nStopped. {left_by(stop) or 'No file is written.'}\n")
        return 130


def _quieten() -> None:
    """Keep what the libraries say about themselves off the terminal."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
