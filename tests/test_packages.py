"""A package that is not there, or too old, is told in one sentence."""

import subprocess
import sys

import diffusers
import pytest
from batch_sdxl.core import load_model
from batch_sdxl.core.errors import MissingPackage
from batch_sdxl.core.packages import REQUIREMENTS, check_packages


@pytest.mark.parametrize("name", ["accelerate", "diffusers", "transformers"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # makes the import fail
    said = rf"the Python package {name}>=[\d.]+, got none"
    with pytest.raises(MissingPackage, match=said) as raised:
        load_model("demo")
    assert f"{sys.executable} -m pip install -r {REQUIREMENTS}" in raised.value.action


@pytest.mark.parametrize("version", ["0.9.1", "0.30.3", "0.41.0.dev0", "0.42.0.dev0"])
def test_a_package_may_be_too_old(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers, "__version__", version)
    with pytest.raises(MissingPackage, match=rf"diffusers>=0\.42, got {version}\."):
        check_packages()


@pytest.mark.parametrize("version", ["0.42.0", "0.42.0+cu126", "0.43.0.dev0", "1.0"])
def test_newer_packages_will_do(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers, "__version__", version)
    check_packages()


def test_nodes_without_a_model_work_without_the_packages() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["torch", "diffusers", "transformers", "accelerate"]))
from batch_sdxl import NODE_CLASS_MAPPINGS as nodes
assert nodes["BatchSDXL_SeedList"]().run(seeds=["5..7"])["result"][1] == 3
assert nodes["BatchSDXL_PromptList"]().run(text="a", negative_prompt="")["result"][1] == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)
