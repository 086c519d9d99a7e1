"""The arguments of `batch-sdxl`."""

from __future__ import annotations

import argparse

from .commands import convert, doctor, generate, reproduce, run, store, verify
from .parser import Parser

#: In the order of `--help`.
_COMMANDS = (run, convert, generate, verify, reproduce, store, doctor)

_EXAMPLES = """examples:
  batch-sdxl run portrait.json
  batch-sdxl run portrait.json --set "Seed List.seeds=100..115" --set 5.steps=30
  batch-sdxl generate --prompts "a red circle" --seeds "random(8, from=7)"
  batch-sdxl generate --prompts prompts.csv --seeds 1..4 --combine product --json
  batch-sdxl doctor
"""


def parser() -> argparse.ArgumentParser:
    """What understands them; `run` of what it returns does what was asked for."""
    from ... import __version__

    made = Parser(
        prog="batch-sdxl",
        description="Many SDXL images in one run, each reproducible on its own.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"batch-sdxl {__version__}")
    commands = made.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    for command in _COMMANDS:
        command.add(commands)
    return made
