"""What else than our own lists goes into Batch Generate: texts, numbers, lists of them."""

from typing import Any

import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import Model
from batch_sdxl.core.errors import BatchSDXLError
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.request.record import Record
from batch_sdxl.host import host

BatchGenerate = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]


def make(model: Model, **lists: list[Any]) -> list[Record]:
    """The rows of a run; every input is a list, as the node takes them."""
    given: dict[str, list[Any]] = {
        "model": [model],
        "prompts": [(Prompt("red"),)],
        "seeds": [(1,)],
        "width": [64],
        "height": [64],
        "steps": [1],
        "cfg": [1.0],
        "sampler_name": ["euler"],
        "scheduler": ["normal"],
        "strength": [0.5],
        "combine": ["zip"],
    }
    with host.use(host.Host()):
        rows: list[Record] = BatchGenerate().begin(**(given | lists)).rows
    return rows


def test_a_text_is_one_prompt(tiny: Model) -> None:
    rows = make(tiny, prompts=["a red\ncircle, (big:1.2)", "blue"], seeds=[(1, 2)])
    assert [row.request.prompt for row in rows] == ["a red\ncircle, (big:1.2)", "blue"]
    mixed = make(tiny, prompts=[(Prompt("one"), Prompt("two")), "three"])
    assert [row.request.prompt for row in mixed] == ["one", "two", "three"]
    with pytest.raises(BatchSDXLError, match="<lora:x:1>"):
        make(tiny, prompts=["red <lora:x:1>"])


def test_whole_numbers_are_seeds(tiny: Model) -> None:
    assert [row.request.seed for row in make(tiny, seeds=[5])] == [5]
    assert [row.request.seed for row in make(tiny, seeds=[5, 7, (9, 2**64 - 1)])] == [
        *(5, 7, 9),
        2**64 - 1,
    ]
    rows = make(tiny, variation_seeds=[3, 4], variation_strength=[0.5])
    assert [row.request.variation_seed for row in rows] == [3, 4]
    with pytest.raises(BatchSDXLError, match="-1"):
        make(tiny, seeds=[-1])


def test_lists_of_settings_are_columns_of_rows(tiny: Model) -> None:
    rows = make(tiny, cfg=[1.0, 3.0, 5.0], steps=[2, 3, 4])
    assert [row.request.guidance_scale for row in rows] == [1.0, 3.0, 5.0]
    assert [row.request.num_inference_steps for row in rows] == [2, 3, 4]
    assert {row.request.prompt for row in rows} == {"red"}
    own = Prompt("blue", settings=Settings({"guidance_scale": 9.0, "width": 72}))
    rows = make(tiny, prompts=[(Prompt("red"), own)], cfg=[2.0, 4.0])
    assert [row.request.guidance_scale for row in rows] == [2.0, 4.0]
    assert [row.request.width for row in rows] == [64, 72]
    images = [torch.rand(2, 64, 64, 3)]
    rows = make(tiny, prompts=["a", "b"], images=images, strength=[0.3, 0.9], steps=[10])
    assert [row.request.strength for row in rows] == [0.3, 0.9]


def test_lists_that_do_not_fit_are_refused(tiny: Model) -> None:
    with pytest.raises(BatchSDXLError, match="2 prompts, 3 of guidance_scale"):
        make(tiny, prompts=["a", "b"], cfg=[1.0, 2.0, 3.0])
    with pytest.raises(BatchSDXLError, match="one width for all images"):
        make(tiny, width=[64, 128])


@pytest.mark.parametrize(("steps", "strength", "is_fine"), [(2, 0.5, True), (4, 0.2, False)])
def test_no_step_to_run_is_told_before_anything_runs(
    steps: int, strength: float, is_fine: bool
) -> None:
    typed: dict[str, Any] = {
        "width": [0],
        "height": [0],
        "sampler_name": ["euler"],
        "scheduler": ["normal"],
        "steps": [steps],
        "strength": [strength],
    }
    assert BatchGenerate.VALIDATE_INPUTS(**typed) is True
    answer = BatchGenerate.VALIDATE_INPUTS(**typed, images=[None])  # wired
    assert answer is True if is_fine else "steps * strength" in str(answer)
    assert BatchGenerate.VALIDATE_INPUTS(**typed | {"steps": [None]}, images=[None]) is True
