"""The benchmarks run with a tiny model, and what they write can be read."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from batch_sdxl.benchmarks import flags, gaps, parts, plot, promise
from batch_sdxl.benchmarks.__main__ import main
from batch_sdxl.benchmarks.calls import Inputs
from batch_sdxl.benchmarks.clock import Budget

#: Those that take seconds on a CPU; the others need CUDA, a compiler or a model on disk.
QUICK = ["machine", "promise", "operations", "flags", "speed", "images", "vae", "gaps"]


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Part -> its rows."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "results.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row.pop("part"), []).append(row)
    return found


def measure(folder: Path, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    main(["gpu", "--size", "tiny", "--device", "cpu", "--output", str(folder), *arguments])
    return read(folder)


def test_all_parts_of_the_gpu_script_run(tmp_path: Path) -> None:
    found = measure(tmp_path, "--minutes", "9", "--parts", *QUICK)
    assert [row["name"] for row in found["parts"]] == QUICK
    assert {row["outcome"] for row in found["parts"]} == {"done"}
    calls = found["promise: calls and images"]
    assert {(row["dtype"], row["pixels"]) for row in calls} == {
        (dtype, pixels) for dtype in ("fp32", "bf16") for pixels in (64, 32)
    }
    for row in calls:
        assert row["finite"]
        assert row["repeat"]
        assert row["place"]
        assert row["neighbours"]
        if row["dtype"] == "fp32":
            assert row["images that differ of 2"] == 0
    assert found["promise: flags"][0]["engine's bits"]
    assert {row["by"] for row in found["whole images"]} == {
        "ours",
        "diffusers, list call",
        "diffusers, loop",
    }
    away = {row["way"]: row["largest difference"] for row in found["VAE decode"]}
    assert away["fp32 with TF32, channels-last"] < 1e-4 < away["fp16"] < away["bf16"] / 2
    assert all(0 < row["busy"] <= 1 for row in found["gaps"])
    table = (tmp_path / "table.md").read_text("utf-8")
    assert all(f"## {part}\n" in table for part in found)


def test_a_part_that_fails_or_has_no_time_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Any, budget: Budget) -> None:
        session.add("seen", before=True)
        raise RuntimeError("out of order")

    monkeypatch.setitem(parts.PARTS, "promise", (fail, 1))
    found = measure(tmp_path / "one", "--parts", "promise", "tests")
    assert found["seen"] == [{"before": True}]
    failed, skipped = (row["outcome"] for row in found["parts"])
    assert (failed, skipped) == ("RuntimeError: out of order", "only with CUDA")
    found = measure(tmp_path / "two", "--minutes", "0", "--parts", "speed")
    assert [row["outcome"] for row in found["parts"]] == ["no time left"]


class Mixing(torch.nn.Module):
    """Rows that depend on their number, their place and their neighbours."""

    def forward(self, sample: torch.Tensor, *others: Any, **more: Any) -> tuple[torch.Tensor]:
        return (sample.softmax(0) + sample.cumsum(0).relu(),)


def test_operations_that_depend_on_other_rows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Inputs = {
        name: torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        for name in ("sample", "timestep", "encoder_hidden_states", "text_embeds", "time_ids")
    }
    monkeypatch.setattr(promise, "unet_inputs", lambda *arguments: inputs)

    class Holder:
        unet = Mixing()

    seen, found = promise.try_operations(Holder(), 16, [2, 4], Budget(10))  # type: ignore[arg-type]
    by_name = {finding.operation: finding for finding, used in found}
    assert set(by_name) == {"_softmax.default", "cumsum.default"}
    assert by_name["_softmax.default"].rows == "2, 4"
    assert not by_name["_softmax.default"].neighbours
    assert not by_name["cumsum.default"].place
    assert any(finding.operation == "relu.default" for finding in seen.findings.values())


def test_every_setting_is_put_back() -> None:
    def state() -> list[Any]:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        return [
            *(cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            *(matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction),
            *(matmul.allow_fp16_accumulation, torch.are_deterministic_algorithms_enabled()),
        ]

    before = state()
    for name, setting in flags.SETTINGS.items():
        if name == "cuBLASLt" and not torch.cuda.is_available():
            continue
        with setting(torch.device("cpu")):
            assert torch.backends.cudnn.enabled is (name != "no cuDNN")
            assert torch.backends.cuda.matmul.allow_fp16_accumulation is (name == "fp16 sums")
        assert state() == before, name


def test_pauses_are_what_no_kernel_covers() -> None:
    spans = [(0.0, 10.0), (2.0, 5.0), (8.0, 12.0), (20.0, 21.0)]
    assert gaps.busy(spans) == (13.0, [8.0])


def test_a_comparison_can_be_read(tmp_path: Path) -> None:
    what = "--short --rounds 1 --models tiny --rows 2 4 --workloads mixed alone"
    main([*what.split(), "--device", "cpu", "--dtype", "fp32", "--output", str(tmp_path)])
    found = read(tmp_path)
    for work in ("mixed", "alone"):
        rows = {row["by"]: row for row in found["compared"] if row["work"] == work}
        assert rows["ours"]["ours is x times as fast"] == 1
        assert rows.keys() >= {"ours", "diffusers, loop", "bare calls"}
        assert all(row["peak, GB"] > 0 for row in rows.values())
    picture = ElementTree.parse(tmp_path / "rows_tiny.svg").getroot()
    assert picture.tag.endswith("svg")


def test_a_plot_has_a_line_for_each_name() -> None:
    picture = plot.plot("speed", "rows", {"a <b>": {2: 1.0, 8: 3.0}, "c": {2: 2.0}})
    root = ElementTree.fromstring(picture)
    assert len(root.findall(".//{*}polyline")) == 2
    assert "a <b>" in [text.text for text in root.findall(".//{*}text")]


@pytest.mark.slow
def test_memory_and_what_an_image_takes_are_told_of_each_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["endurance", "--images", "2", "100", "--size", "64"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "100", "100"]  # in the midst, too
    assert all(" MiB" in line for line in lines)
    assert [line.endswith(" ms of CPU an image") for line in lines] == [True, False, True]
