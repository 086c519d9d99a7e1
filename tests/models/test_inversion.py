"""Textual inversions: words of their own, called by `embedding:name`."""

import ntpath
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, ImageRequest, Model, SizedRequest
from batch_sdxl.core.errors import InvalidPrompts, ModelNotFound, UnsupportedModel
from batch_sdxl.core.models.inversion import Inversions, with_inversions
from batch_sdxl.core.text.chunks import called_inversions
from batch_sdxl.core.text.encoder import TextEncoder
from safetensors.torch import save_file


def encode(model: Model, prompt: str) -> Any:
    text = TextEncoder(model)
    return text.encode(prompt, chunks=text.count(prompt))


@pytest.fixture
def learned(tiny: Model, tmp_path: Path) -> dict[str, Path]:
    """A word whose vectors are those of `red circle`, and another one of noise."""
    ids = tiny.tokenizers[0]("red circle").input_ids[1:-1]
    known = [e.get_input_embeddings().weight[ids].clone() for e in tiny.text_encoders]
    draw = torch.Generator().manual_seed(0)
    contents = {
        "redcircle": dict(zip(("clip_l", "clip_g"), known, strict=True)),
        "red": {f"text_encoders_{n}": torch.randn(3, 32, generator=draw) for n in (0, 1)},
    }
    for name, tensors in contents.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    return {name: tmp_path / f"{name}.safetensors" for name in contents}


def test_a_textual_inversion_stands_where_its_vectors_tokens_would(
    tiny: Model, learned: dict[str, Path]
) -> None:
    model = with_inversions(tiny, learned)
    expected = encode(tiny, "a red circle, blue")
    for prompt in ("a embedding:redcircle , blue", "a embedding:redcircle, blue"):
        result = encode(model, prompt)
        torch.testing.assert_close(result.prompt_embeds, expected.prompt_embeds)
        torch.testing.assert_close(result.pooled_prompt_embeds, expected.pooled_prompt_embeds)
    heavy = encode(model, "a (embedding:redcircle:1.3), blue").prompt_embeds
    torch.testing.assert_close(heavy, encode(tiny, "a (red circle:1.3), blue").prompt_embeds)
    assert not torch.allclose(encode(model, "embedding:red").prompt_embeds, expected.prompt_embeds)


def test_encoding_leaves_the_text_encoders_as_they_were(
    tiny: Model, learned: dict[str, Path]
) -> None:
    before = encode(tiny, "a red circle").prompt_embeds
    encode(with_inversions(tiny, learned), "embedding:red")
    assert torch.equal(encode(tiny, "a red circle").prompt_embeds, before)
    assert tiny.inversions == {}


def test_only_images_that_call_a_textual_inversion_depend_on_it(
    tiny: Model, learned: dict[str, Path]
) -> None:
    model = with_inversions(tiny, learned)
    one = SizedRequest(prompt="a", seed=1, width=64, height=64)
    other = replace(one, prompt="embedding:red")
    assert Engine(model).describe(one) == Engine(tiny).describe(one)
    record = Engine(model).describe(other)
    assert record.inversions == {"red": model.inversions["red"].digest}
    assert Engine(model).describe(replace(other, seed=2)).identity != record.identity
    renamed = with_inversions(tiny, {"red": learned["redcircle"]})
    assert Engine(renamed).describe(other).identity != record.identity
    unused = replace(one, negative_prompt="embedding:red", guidance_scale=1.0)
    assert not Engine(model).describe(unused).inversions


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("embedding:redcircle, embedding:red.", {"redcircle", "red"}),
        ("embedding:red, embedding:redcircle", {"red", "redcircle"}),
        ("a\nembedding:red", {"red"}),
        ("a,embedding:red", set()),
        ("an-embedding:red", set()),
        ("(embedding:red:1.2), embedding:redcircle:", {"red", "redcircle"}),
        ("embedding:red.safetensors", {"red"}),
        ("embedding:style/neg-v2 a", {"style/neg-v2"}),
        (r"embedding:style\neg-v2.safetensors, a", {"style/neg-v2"}),
        ("embedding:style/neg", {"style/neg"}),
        ("embedding: red", {"red"}),
        ("a word embedding:", set()),
    ],
)
def test_names_are_called_as_in_comfyui(prompt: str, names: set[str]) -> None:
    known = ("red", "redcircle", "style/neg", "style/neg-v2")
    inversions = Inversions({name: Path(name) for name in known}, (32, 32))
    assert called_inversions(prompt, inversions) == names


@pytest.mark.parametrize("call", ["reddish", "red-ish", "red_2", "red.v2", "RED", "style", "neg"])
def test_a_part_of_a_name_calls_nothing(call: str) -> None:
    """What is left of it would be taken for words."""
    inversions = Inversions({name: Path(name) for name in ("red", "style/neg")}, (32, 32))
    with pytest.raises(InvalidPrompts, match=rf"embedding:{call}\. There is red, style/neg;"):
        called_inversions(f"a embedding:{call} b", inversions)


def test_case_is_as_the_file_system_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.normcase", ntpath.normcase)
    inversions = Inversions({r"Style\Neg": Path("x")}, (32, 32))
    assert called_inversions("embedding:style/NEG, b", inversions) == {r"Style\Neg"}


def test_of_many_names_those_that_are_near_are_told() -> None:
    names = [f"word{n}" for n in range(300)] + ["negativeXL_D"]
    inversions = Inversions({name: Path(name) for name in names}, (32, 32))
    with pytest.raises(InvalidPrompts, match=r"There is negativeXL_D; load it"):
        called_inversions("embedding:negativeXL_E", inversions)
    with pytest.raises(InvalidPrompts, match="none like it among 301"):
        called_inversions("embedding:???", inversions)


def test_files_are_read_when_they_are_called(
    tiny: Model, learned: dict[str, Path], tmp_path: Path
) -> None:
    """A folder holds those for other models too, which are told before the first step."""
    old, absent, pickled = (tmp_path / name for name in ("old.safetensors", "absent", "old.pt"))
    save_file({"emb_params": torch.ones(2, 32)}, old)
    pickled.write_bytes(b"PK\x03\x04")
    paths = learned | {"old": old, "absent": absent, "pickled": pickled}
    engine = Engine(with_inversions(tiny, paths))
    usual = ImageRequest(prompt="embedding:red", seed=1, num_inference_steps=1)
    for name, kind, found in [
        ("old", UnsupportedModel, r"vectors of 32 and 32.*emb_params"),
        ("absent", ModelNotFound, "absent"),
        ("pickled", UnsupportedModel, "pickled.*convert it"),
    ]:
        with pytest.raises(kind, match=found):
            engine.generate([usual, replace(usual, prompt=f"a (embedding:{name}:1.2)")])
    assert len(list(engine.generate([usual]))) == 1
    learned["red"].unlink()
    assert engine.describe(engine.with_size(usual)).inversions.keys() == {"red"}


def test_vectors_of_different_numbers_are_refused(tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(3, 32)}, path)
    with pytest.raises(UnsupportedModel, match=r"clip_g \(3, 32\)"):
        with_inversions(tiny, {"odd": path}).inversions["odd"]
