"""The repository's root is the package `batch_sdxl`; pyproject.toml has everything else."""

from setuptools import find_packages, setup

INSIDE = find_packages(include=["cluster*", "core*", "headless*", "host*", "nodes*"])

setup(packages=["batch_sdxl", *(f"batch_sdxl.{name}" for name in INSIDE)])
