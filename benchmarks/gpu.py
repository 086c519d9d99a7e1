"""All that has to be known of a GPU, most important first, within some minutes.

    python -m benchmarks gpu --minutes 8 --output DIR

One process, SDXL's true size with random weights, no network. Every result is written as it comes,
so that a run that is killed has lost nothing; a part that fails says so, and the next one begins.
On a CPU the same parts run with `--size small`, but for those that only CUDA has.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from .clock import Budget
from .parts import PARTS
from .results import Results
from .session import SCALES, Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `python -m benchmarks gpu`."""
    parser.add_argument("--minutes", type=float, default=8, help="for all parts together")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--size", choices=SCALES, default="true", help="of the model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))


def run(args: argparse.Namespace) -> None:
    """Run the parts, in their order, while there is time."""
    budget = Budget(60 * args.minutes)
    results = Results(args.output, f"Batch SDXL on {args.device}, {args.size} size")
    session = Session(SCALES[args.size], torch.device(args.device), results)
    for name, (part, most) in PARTS.items():
        if name not in args.parts:
            continue
        if not budget.left:
            results.add("parts", name=name, seconds=None, outcome="no time left")
            continue
        session.tidy()
        begin, outcome = time.perf_counter(), "done"
        try:
            outcome = part(session, budget.part(most)) or outcome
        except Exception as error:
            # One part's fault must not cost the others' results.
            outcome = f"{type(error).__name__}: {error}"[:500]
        results.add("parts", name=name, seconds=time.perf_counter() - begin, outcome=outcome)
    print("\n" + results.markdown())
