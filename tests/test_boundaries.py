"""Arrows point one way (headless -> nodes -> core), and imports stay cheap."""

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import batch_sdxl
import pytest
from batch_sdxl.core import errors

ROOT = Path(batch_sdxl.__file__).parent
HOST_MODULES = ["comfy", "comfy_api", "comfy_execution", "folder_paths", "server"]
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "scipy", "rich", "yaml"}
PACKAGES = ["core", "headless", "host", "nodes"]
ABOVE = {
    "core": ("host", "nodes", "cluster", "headless"),
    "host": ("nodes", "cluster", "headless"),
    "nodes": ("cluster", "headless"),
    "cluster": ("headless",),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", [*PACKAGES, "cluster"])
def test_only_relative_imports_and_none_upwards(package: str) -> None:
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                target = (node.module or "").split(".")[0]
                if node.level == len(path.relative_to(ROOT).parts):  # from the root
                    assert target not in ABOVE.get(package, ()), f"{path} imports {target}"
                if node.level == 0:
                    assert target not in ("batch_sdxl", "core", "host", "nodes", "headless"), path


def test_every_module_imports_without_comfyui() -> None:
    names = [
        "batch_sdxl." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
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


def test_loading_and_describing_the_nodes_imports_nothing_heavy() -> None:
    """ComfyUI does both before a person sees anything."""
    code = f"""
import sys
import batch_sdxl
for node in batch_sdxl.NODE_CLASS_MAPPINGS.values():
    node.INPUT_TYPES()
heavy = {HEAVY} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_of_clusters_is_imported_unless_asked_for() -> None:
    code = """
import sys
import batch_sdxl.headless.cli.main, batch_sdxl.headless.cli.session, batch_sdxl.nodes
found = [name for name in sys.modules if name.startswith(("ray.", "batch_sdxl.cluster"))]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def load(name: str, folder: Path) -> str:
    """What is logged when the pack is loaded as a module of that name, as ComfyUI does."""
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location({name!r}, {str(folder / "__init__.py")!r})
module = sys.modules[{name!r}] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
node = module.NODE_CLASS_MAPPINGS["BatchSDXL_SeedList"]
assert node.__module__ == {name!r} + ".nodes.seed_list"
assert node().run(seeds=["5..7"])["result"][0] == (5, 6, 7)
error = node.VALIDATE_INPUTS(seeds=[""])
assert (type(error).__module__, type(error).__name__) == ("batch_sdxl", "InvalidSeeds")
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("folder", ["batch-sdxl", "batch-sdxl.1", "batch sdxl", "画像", "a#b"])
def test_the_pack_loads_from_a_folder_of_any_name(folder: str, tmp_path: Path) -> None:
    """ComfyUI names the module after the folder's path, with _x_ for dots."""
    (tmp_path / folder).symlink_to(ROOT)
    logged = load(str(tmp_path / folder).replace(".", "_x_"), tmp_path / folder)
    assert ("Rename the folder" in logged) is not folder.startswith("batch-sdxl")


def test_the_pack_loads_on_windows() -> None:
    load("C:\\ComfyUI portable\\custom_nodes\\batch-sdxl", ROOT)


def test_errors_are_named_by_the_package_and_can_be_pickled() -> None:
    base = errors.BatchSDXLError
    kinds: list[type[errors.BatchSDXLError]] = [base, *base.__subclasses__()]
    for error in kinds:
        copy = pickle.loads(pickle.dumps(error("a", "b", "c")))
        assert type(copy) is error is getattr(batch_sdxl, error.__name__)
        assert str(copy) == "Expected a, got b. c"


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
