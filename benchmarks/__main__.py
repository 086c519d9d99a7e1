"""Without a command, `compare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import compare, endurance, gpu, preview, reproducibility, workers

COMMANDS = {
    "compare": compare,
    "endurance": endurance,
    "gpu": gpu,
    "preview": preview,
    "reproducibility": reproducibility,
    "workers": workers,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in (*COMMANDS, "-h", "--help"):
        given = ["compare", *given]
    args = parser.parse_args(given)
    args.run(args)


if __name__ == "__main__":
    main()
