from typing import Any

import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import Engine, ImageRequest, Model
from batch_sdxl.core.errors import InvalidPrompts
from batch_sdxl.core.prompts.prompt import Prompt
from batch_sdxl.core.prompts.refine import of_rows, refine

TWO = (Prompt("a cat", "dim"), Prompt("a dog,"))


@pytest.mark.parametrize(
    ("way", "text", "prompts"),
    [
        ("append", "at night", ["a cat, at night", "a dog, at night"]),
        ("append", ", at night ,\n\n", ["a cat, at night", "a dog, at night"]),
        ("prepend", "a photo", ["a photo, a cat", "a photo, a dog"]),
        ("replace", "a bird", ["a bird", "a bird"]),
        ("append", "black\nbrown", ["a cat, black", "a dog, brown"]),
        ("template", "oil painting of {prompt}, {big}", ["oil painting of a cat, {big}"] * 1),
    ],
)
def test_text_goes_together_with_prompts(way: str, text: str, prompts: list[str]) -> None:
    refined = refine(TWO[: len(prompts)], way, text)
    assert [one.prompt for one in refined] == prompts
    assert refined[0].negative_prompt == "dim"


@pytest.mark.parametrize(
    ("way", "text", "part"),
    [
        ("append", "", "2 prompts and 0 lines"),
        ("append", "a\nb\nc", "2 prompts and 3 lines"),
        ("template", "at night", "{prompt}"),
    ],
)
def test_what_cannot_be_put_together_is_refused(way: str, text: str, part: str) -> None:
    with pytest.raises(InvalidPrompts) as caught:
        refine(TWO, way, text)
    assert part in str(caught.value)


def test_seed_and_size_are_kept_and_the_image_remembered(engine: Engine, tiny: Model) -> None:
    (image,) = engine.generate(
        [ImageRequest(prompt="a cat", seed=2**64 - 1, num_inference_steps=1, width=80)]
    )
    record = engine.describe(image.request)
    node = NODE_CLASS_MAPPINGS["BatchSDXL_RefinePrompts"]()
    refined, count = node.run(rows=[record], way="append", text="big")
    assert count == 1
    assert refined == refine(of_rows([record]), "append", "big")
    settings: dict[str, Any] = {"width": 0, "height": 0, "steps": 2, "cfg": 7.0, "strength": 0.5}
    names = {"sampler_name": "euler", "scheduler": "normal", "combine": "zip", "model": tiny}
    inputs = {name: [value] for name, value in (settings | names).items()}
    generate = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]()
    _, (row,), _ = generate.run(prompts=[refined], **inputs)
    made = row.request
    assert (made.prompt, made.seed, made.width) == ("a cat, big", 2**64 - 1, 80)
    assert made.num_inference_steps == 2
    assert row.refined_from == record.identity != row.identity
