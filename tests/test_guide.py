"""diffusers' guide to batch inference, as `docs/batch_inference.md` and the README have it."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
from batch_sdxl.core import ImageRequest
from batch_sdxl.core.saving.image_file import read_record
from batch_sdxl.headless.cli.main import main

ROOT = Path(batch_sdxl.__file__).parent
GUIDE = (ROOT / "docs" / "batch_inference.md").read_text("utf-8")
START, *EXAMPLES = GUIDE.split("\n## ")
#: So that it is quick.
STEPS = 2


def block(kind: str, text: str) -> str:
    (first, *_) = re.findall(rf"```{kind}\n(.*?)```", text, re.S)
    return str(first)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the files that the guide names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text(block(r"prompts\.txt", START))
    shutil.copytree(ROOT / "example_workflows" / "input_images", tmp_path / "photos")
    (tmp_path / "photos" / "4_large.png").unlink()
    return tmp_path


def made(folder: Path) -> dict[int, str]:
    """The identities of the images of a folder, by seed."""
    records = map(read_record, folder.glob("*.png"))
    return {record.request.seed: record.identity for record in records}


def command(text: str) -> list[str]:
    program, *words = shlex.split(text.removeprefix("$ "))
    assert program == "batch-sdxl"
    return words


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("\n")[0])
def test_each_example_makes_the_same_images_three_ways(folder: Path, example: str) -> None:
    assert main([*command(block("console", example)), "--steps", str(STEPS)]) == 0
    by_command = made(folder / "output")

    workflow = json.loads(block("json", example))
    workflow["4"]["inputs"] |= {"steps": STEPS, "empty_negative": "auto"}
    (folder / "workflow.json").write_text(json.dumps(workflow))
    assert main(["run", "workflow.json", "--output", "of_workflow"]) == 0
    by_workflow = made(folder / "of_workflow")

    names: dict[str, Any] = {}
    exec(block("python", START), names)
    sampling: dict[str, Any] = {"num_inference_steps": STEPS, "scheduler": "euler:normal"}
    names["ImageRequest"] = lambda **own: ImageRequest(**own, **sampling)
    exec(block("python", example), names)
    by_python = made(folder)

    assert len(by_command) in (3, 4)
    assert by_workflow == by_command
    assert by_python == by_command
    if "reproduce" in example:
        assert main(command(re.findall(r"\$ (batch-sdxl reproduce.*)", example)[0])) == 0


def readme_commands() -> Iterator[str]:
    table = (ROOT / "README.md").read_text("utf-8").partition("the guide]")[2].partition("\n\n")[0]
    return (text for text in re.findall(r"`([^`]*)`", table) if text.startswith("batch-sdxl"))


def test_readme_shows_the_same_commands() -> None:
    shown = list(readme_commands())
    assert shown == [block("console", one).strip().removeprefix("$ ") for one in EXAMPLES]
