"""The example workflows, the README and the demo model: what a newcomer meets first."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import batch_sdxl
import numpy as np
import pytest
from batch_sdxl.core import Engine, ImageRequest, load_model
from batch_sdxl.core.errors import InvalidWorkflow
from batch_sdxl.headless.cli.host import HeadlessHost
from batch_sdxl.headless.graph import workflow
from batch_sdxl.headless.graph.catalog import installed
from batch_sdxl.headless.graph.check import check
from batch_sdxl.host import host
from PIL import Image

ROOT = Path(batch_sdxl.__file__).parent
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
#: Those with nodes that only ComfyUI has.
OF_COMFYUI = ("model_from_comfyui",)
#: Room that the title bar takes above a node's place.
TITLE = 30


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_run_and_has_a_picture(path: Path, tmp_path: Path) -> None:
    from batch_sdxl.headless.cli.bar import Bar
    from rich.console import Console

    here = HeadlessHost([path.parent], tmp_path, Bar(Console(stderr=True)))
    with host.use(here):
        catalog = installed()
        if path.stem in OF_COMFYUI:
            with pytest.raises(InvalidWorkflow, match="This workflow needs ComfyUI: run it there"):
                check(workflow.read(path, catalog), catalog)
        else:
            check(workflow.read(path, catalog), catalog)
    with Image.open(path.with_suffix(".jpg")) as image:
        assert min(image.size) >= 256


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_overlaps_in_an_example(path: Path) -> None:
    nodes = json.loads(path.read_text("utf-8"))["nodes"]
    for one, other in combinations(nodes, 2):
        assert not _overlap(one, other), (one["type"], other["type"])


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    (x1, y1), (x2, y2) = one["pos"], other["pos"]
    (w1, h1), (w2, h2) = one["size"], other["size"]
    apart = x1 + w1 <= x2 or x2 + w2 <= x1
    return not (apart or y1 + h1 + TITLE <= y2 or y2 + h2 + TITLE <= y1)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert len(list(tmp_path.glob("circle_*.png"))) == 2


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            if not link.startswith("http"):
                assert (document.parent / link).exists(), f"{document.name}: {link}"


PALETTE = {
    "red": (222, 38, 46),
    "yellow": (253, 216, 45),
    "green": (38, 166, 81),
    "blue": (34, 101, 221),
    "white": (248, 248, 248),
    "black": (26, 26, 32),
}


def test_the_demo_model_answers_the_prompt() -> None:
    """The colours asked for, at the edge and in the middle of the shape."""
    asked = [("red", "blue"), ("yellow", "black"), ("green", "white"), ("blue", "yellow")]
    requests = [
        ImageRequest(prompt=f"a large {shape} circle in the center on a {back} background", seed=1)
        for shape, back in asked
    ]
    for image in Engine(load_model("demo")).generate(requests):
        shape, back = asked[image.index]
        assert _nearest(image.pixels[60:68, 60:68]) == shape
        assert _nearest(image.pixels[:6, :6]) == back


def _nearest(patch: Any) -> str:
    colour = patch.reshape(-1, 3).mean(axis=0)
    return min(PALETTE, key=lambda name: float(np.abs(colour - PALETTE[name]).sum()))


def test_the_demo_model_is_small() -> None:
    assert sum(f.stat().st_size for f in (ROOT / "demo_model").rglob("*")) <= 12e6
