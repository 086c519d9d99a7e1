"""The picker reads what is picked as the node does."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from batch_sdxl.core.errors import InvalidRequest
from batch_sdxl.core.request.selection import select
from batch_sdxl.tests.records import make_record

HERE = Path(__file__).parent
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

SEEDS = [3, 5, 3, 2**64 - 1, 9, 2**53 + 1, 2**53]
PROMPTS = ["a castle", "a Castle at night", "a boat", "Straße", "ΟΔΟΣ", "", "a castle, #2"]
PARTS = (
    *("all", "ALL", "seed", "seeds ", "Seed 3", "#", "#1", "# 7", "0", "3", "5", "9..3", "#2..#4"),
    *("..", "1 .. 3", str(2**64 - 1), str(2**53), '"castle"', '"STRASSE"', '"οδος"', '""', '"'),
    *(",", ", ", ";", "\n", " ", ",,", "the second"),
)
SCRIPT = """
const [source, cases] = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
import("data:text/javascript," + encodeURIComponent(source)).then(({ read }) => {
  console.log(JSON.stringify(cases.texts.map((text) => read(text, cases.images))));
});
"""


def node(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run(
        [NODE, *arguments], input=given, capture_output=True, encoding="utf-8", timeout=60
    )


def test_in_javascript() -> None:
    result = node("--test", str(HERE / "selection.test.mjs"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_javascript_reads_every_text_as_python_does() -> None:
    draw = random.Random(0)
    texts = ["".join(draw.choices(PARTS, k=draw.randint(1, 5))) for _ in range(5000)]
    images = [{"seed": str(s), "prompt": p} for s, p in zip(SEEDS, PROMPTS, strict=True)]
    source = (HERE.parents[1] / "web" / "selection.js").read_text("utf-8")
    result = node("-e", SCRIPT, given=json.dumps([source, {"texts": texts, "images": images}]))
    assert result.returncode == 0, result.stderr

    records = [make_record(seed=s, prompt=p) for s, p in zip(SEEDS, PROMPTS, strict=True)]
    picked = 0
    for text, answer in zip(texts, json.loads(result.stdout), strict=True):
        try:
            places = select(text, records)
        except InvalidRequest:
            assert answer["problem"], text
        else:
            assert answer == {"places": places, "problem": ""}, text
            picked += 1
    assert picked > 500
