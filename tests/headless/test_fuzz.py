"""Broken workflows: whatever is in a file, there is a plan or an error of ours, at once."""

import json
import random
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError
from batch_sdxl.headless.graph.catalog import Catalog, installed
from batch_sdxl.headless.graph.check import check
from batch_sdxl.headless.graph.convert import convert
from batch_sdxl.headless.graph.graph import Graph
from batch_sdxl.headless.graph.workflow import parse, read
from batch_sdxl.headless.notes import note
from batch_sdxl.tests.broken_json import broken

EXAMPLES = Path(__file__).resolve().parents[2] / "example_workflows"

NAMES = ("x", "widget", "nodes", "links", "3")

#: Seconds for one file, far more than any takes, on a machine at work.
PATIENCE = 10


@lru_cache(1)
def catalog() -> Catalog:
    return installed()


@lru_cache(1)
def seeds() -> tuple[str, ...]:
    """The example workflows in both formats, and a stock one in both."""
    texts = [path.read_text("utf-8") for path in sorted(EXAMPLES.glob("*.json"))]
    parsed = [parse(json.loads(text), catalog()) for text in texts]
    stock: dict[str, Any] = {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": ["20", 0],
                "steps": 1,
                "cfg": 6.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 0.5,
                "model": ["10", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "demo"}},
        "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["11", 0], "vae": ["4", 2]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["10", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "s"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {"model": ["4", 0], "clip": ["4", 1], "lora_name": "x.safetensors"},
        },
        "11": {"class_type": "LoadImage", "inputs": {"image": "input_images/1_left.png"}},
        "20": {"class_type": "PrimitiveInt", "inputs": {"value": 3}},
    }
    advanced = stock | {
        "3": {
            "class_type": "KSamplerAdvanced",
            "inputs": {
                **{k: v for k, v in stock["3"]["inputs"].items() if k not in ("seed", "denoise")},
                "add_noise": "enable",
                "noise_seed": 5,
                "steps": 4,
                "start_at_step": 2,
                "negative": ["21", 0],
            },
        },
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["22", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["22", 0]}},
        "21": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["7", 0]}},
        "22": {
            "class_type": "CLIPSetLastLayer",
            "inputs": {"clip": ["10", 1], "stop_at_clip_layer": -3},
        },
    }
    api = [json.dumps(graph.api()) for graph in parsed]
    nested = json.dumps(in_subgraphs(json.loads(texts[0])))
    return (*texts, *api, *map(json.dumps, (stock, {"prompt": stock}, advanced)), nested)


def in_subgraphs(content: dict[str, Any]) -> dict[str, Any]:
    """A drawing twice in subgraphs."""
    links = [
        dict(
            zip(("id", "origin_id", "origin_slot", "target_id", "target_slot"), link, strict=False)
        )
        for link in content["links"]
    ]
    inner = {"id": "inner", "nodes": content["nodes"], "links": links, "inputs": [], "outputs": []}
    use = {"id": 1, "type": "inner", "properties": {"proxyWidgets": [["1", "x"]]}}
    outer = inner | {"id": "outer", "nodes": [use, use | {"id": 2, "widgets_values": ["y"]}]}
    main = {"nodes": [{"id": 3, "type": "outer", "mode": 0}], "links": []}
    return main | {"definitions": {"subgraphs": [inner, outer | {"links": []}]}}


def judged(content: Any) -> str:
    """What becomes of a workflow, up to where nodes would run."""
    try:
        graph = parse(content, catalog())
        assert isinstance(graph, Graph)
        json.dumps(graph.api())
        check(convert(graph, catalog()).graph, catalog())
    except BatchSDXLError as error:
        assert str(error)
        return type(error).__name__
    return "plan"


def fuzz(numbers: range) -> None:
    outcomes: dict[str, int] = {}
    for number in numbers:
        draw = random.Random(number)
        content = broken(json.loads(draw.choice(seeds())), draw, NAMES)
        start = time.monotonic()
        try:
            outcome = judged(content)
        except Exception as error:
            note(error, f"workflow {number}: {json.dumps(content)[:3000]}")
            raise
        assert time.monotonic() - start < PATIENCE, number
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    # Neither all broken nor all whole: else it tests little.
    assert len(numbers) / 20 < outcomes["plan"] < len(numbers) * 0.9, outcomes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_broken_workflows_are_refused_in_our_words() -> None:
    fuzz(range(300))


@pytest.mark.slow
def test_many_broken_workflows_are_refused_in_our_words() -> None:
    fuzz(range(1000, 21_000))


def broken_text(text: str, draw: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(draw.randint(1, 20)):
        at = draw.randrange(len(data))
        data[at : at + draw.choice((0, 1, 1, 40))] = draw.choice(
            (b"", b"\xff", b'"', b"{", b"]", b"\0", b"NaN", b"1e999", b"\\ud800", b"[" * 3)
        )
    return bytes(data)


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_broken_files_are_refused_in_our_words(tmp_path: Path, count: int) -> None:
    path = tmp_path / "broken.json"
    for number in range(count):
        draw = random.Random(number)
        path.write_bytes(broken_text(draw.choice(seeds()), draw))
        try:
            read(path, catalog())
        except BatchSDXLError as error:
            assert str(error)
