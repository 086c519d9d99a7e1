"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import gpu


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, module in {"gpu": gpu}.items():
        command = commands.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
