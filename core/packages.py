"""The packages that a model needs: are they there, and new enough?"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

from packaging.requirements import Requirement

from .errors import MissingPackage

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"

#: Those that a program which hosts us does not have, or has older ones of.
_OF_MODELS = ("accelerate", "diffusers", "transformers")


def check_packages() -> None:
    """Import them.

    Raises:
        MissingPackage: one cannot be imported, or is older than requirements.txt asks for.
    """
    for line in REQUIREMENTS.read_text("utf-8").split():
        wanted = Requirement(line)
        if wanted.name not in _OF_MODELS:
            continue
        try:
            got = import_module(wanted.name).__version__
        except ImportError as error:
            raise _missing(line, f"none ({error})") from error
        if not wanted.specifier.contains(got, prereleases=True):
            raise _missing(line, got)


def _missing(wanted: str, got: str) -> MissingPackage:
    command = [sys.executable, "-m", "pip", "install", "-r", str(REQUIREMENTS)]
    return MissingPackage(
        f"the Python package {wanted}",
        got,
        f"Run `{subprocess.list2cmdline(command)}` and restart.",
    )
