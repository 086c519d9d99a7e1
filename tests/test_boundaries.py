"""Arrows point one way (headless -> nodes -> core), and imports stay cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import batch_sdxl
import pytest

ROOT = Path(batch_sdxl.__file__).parent
HOST_MODULES = ["comfy", "comfy_api", "comfy_execution", "folder_paths", "server"]
ABOVE = {"core": ("nodes", "headless"), "nodes": ("headless",)}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["core", "nodes", "headless"])
def test_only_relative_imports_and_none_upwards(package: str) -> None:
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                target = (node.module or "").split(".")[0]
                if node.level == len(path.relative_to(ROOT).parts):  # from the root
                    assert target not in ABOVE.get(package, ()), f"{path} imports {target}"
                if node.level == 0:
                    assert target not in ("batch_sdxl", "core", "nodes", "headless"), path


def test_every_module_imports_without_comfyui() -> None:
    names = [
        "batch_sdxl." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("core", "nodes", "headless")
        for path in modules(package)
        if path.name != "__init__.py"
    ]
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({HOST_MODULES}))  # None makes the import fail
for name in {names}:
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pack_imports_nothing_heavy() -> None:
    code = """
import sys
import batch_sdxl
heavy = {"torch", "diffusers", "transformers", "accelerate", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist() -> None:
    from batch_sdxl import core

    for name in core.__all__:
        assert getattr(core, name).__name__ == name
    assert sorted(core.__all__) == core.__all__
    with pytest.raises(AttributeError):
        core.no_such_name  # noqa: B018


def test_requirements_agree_with_the_project() -> None:
    """ComfyUI-Manager reads requirements.txt; torch is the host's own."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (block,) = re.findall(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)
    dependencies = [d for d in re.findall(r'"(.+?)"', block) if not d.startswith("torch>=")]
    assert (ROOT / "requirements.txt").read_text("utf-8").split() == dependencies


def test_the_version_is_told_once() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{batch_sdxl.__version__}"' in project
