"""Prompts as users write them: weights, any length, BREAK."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model
from batch_sdxl.core.errors import InvalidPrompts
from batch_sdxl.core.text.chunks import to_chunks, to_ids
from batch_sdxl.core.text.encoder import TextEncoder
from batch_sdxl.core.text.syntax import Piece, parse

Render = Callable[[list[ImageRequest]], list[GeneratedImage]]

#: More than two chunks of the small tokenizer.
LONG = ", ".join(f"a red circle number {n}" for n in range(15))


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("", [("", 1.0)]),
        ("a cat", [("a cat", 1.0)]),
        ("(cat)", [("cat", 1.1)]),
        ("((cat))", [("cat", 1.1 * 1.1)]),
        ("a (cat:1.3) sat", [("a ", 1.0), ("cat", 1.3), (" sat", 1.0)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat: -1 )", [("cat", -1.0)]),
        ("(a (b:1.5) c:1.2)", [("a ", 1.2), ("b", 1.5), (" c", 1.2)]),
        ("((b:1.5))", [("b", 1.5)]),
        ("(time 12:30 x)", [("time 12:30 x", 1.1)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        (r"\(cat\)", [("(cat)", 1.0)]),
        (r"(a \(b\):1.2)", [("a (b)", 1.2)]),
        ("a ) b (c", [("a ) b (c", 1.0)]),
        ("( (a)", [(" ", 1.1), ("(a", 1.1)]),
        ("()", [("", 1.0)]),
        ("(cat:1e1)", [("cat", 10.0)]),
        ("(cat:1_0)", [("cat", 10.0)]),
        ("(cat:ten)", [("cat:ten", 1.1)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        (":) (cat)", [(":) (cat)", 1.0)]),
        (":) (a (cat)", [(":) (a ", 1.0), ("cat", 1.1)]),
        ("(a (cat)", [("a ", 1.1), ("(cat", 1.1)]),
        ("a (b (cat) c", [("a ", 1.0), ("(b (cat) c", 1.0)]),
        (r"(a\)", [(r"(a)", 1.0)]),
        ("[cat] {dog}", [("[cat] {dog}", 1.0)]),
    ],
)
def test_weights_are_read_as_in_comfyui(prompt: str, pieces: list[tuple[str, float]]) -> None:
    found = parse(prompt)
    assert [piece.text for piece in found] == [text for text, _ in pieces]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e999"])
def test_a_weight_that_is_not_finite_is_refused(tiny: Model, number: str) -> None:
    with pytest.raises(InvalidPrompts, match="finite weights"):
        Engine(tiny).generate([ImageRequest(prompt=f"a (red:{number}) circle", seed=1)])


def test_brackets_may_be_as_deep_as_anyone_writes_them() -> None:
    assert parse("(" * 2000 + "a:2" + ")" * 2000) == [Piece("a", 2.0)]


def test_break_starts_a_part() -> None:
    assert parse("a BREAK (b BREAK c:2)") == [
        Piece("a "),
        Piece(" ", starts_part=True),
        Piece("b ", 2.0),
        Piece(" c", 2.0, starts_part=True),
    ]
    assert parse("BREAKFAST break") == [Piece("BREAKFAST break")]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red circle",
        "  Ω 🎨\tÉtude  ",
        "don't, it's; 12:30",
        "naïve\n\nΣΛΣ ﬁ x" * 3,
        "<|endoftext|> a",
    ],
)
def test_a_short_prompt_is_cut_as_the_tokenizer_cuts_it(tiny: Model, prompt: str) -> None:
    for tokenizer in tiny.tokenizers:
        (chunk,) = to_chunks(prompt, tokenizer, {})
        expected = tokenizer(prompt, padding="max_length", max_length=77).input_ids
        assert to_ids(chunk, tokenizer) == expected


def lengths(model: Model, prompt: str) -> list[int]:
    return [len(chunk) for chunk in to_chunks(prompt, model.tokenizers[0], {})]


def test_a_stretch_of_one_weight_is_cut_where_the_chunk_is_full(tiny: Model) -> None:
    tokenizer = tiny.tokenizers[0]
    chunks = to_chunks(LONG, tokenizer, {})
    assert lengths(tiny, LONG)[:2] == [75, 75]
    assert [t.key for c in chunks for t in c] == tokenizer(LONG, verbose=False).input_ids[1:-1]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a " * 75, [75]),
        ("a " * 76, [75, 1]),
        ("q" * 200, [75, 75, 50]),
        # Seven tokens stay together, eight are cut.
        ("a " * 70 + "(b b b b b b b:1.2)", [70, 7]),
        ("a " * 70 + "(b b b b b b b b:1.2)", [75, 3]),
        ("a " * 70 + "(b b b b b:1.2)", [75]),
        ("a " * 75 + "(b b b b b b b b:1.2)", [75, 8]),
        ("a BREAK b b", [1, 2]),
        ("a BREAK BREAK b", [1, 0, 1]),
        ("", [0]),
    ],
)
def test_where_prompts_are_cut(tiny: Model, prompt: str, expected: list[int]) -> None:
    assert lengths(tiny, prompt) == expected


@pytest.mark.parametrize("prompt", ["hello!", "a!b", "!!!", "stop! (now!:1.2)"])
def test_an_exclamation_mark_is_a_word_to_both_encoders(tiny: Model, prompt: str) -> None:
    """It is the second one's padding too, but only behind the end."""
    words = tiny.tokenizers[0].get_vocab()
    (chunk,) = to_chunks(prompt, tiny.tokenizers[0], {})
    assert words["!</w>"] in [token.key for token in chunk]
    one, other = (to_ids(chunk, tokenizer) for tokenizer in tiny.tokenizers)
    end = 2 + len(chunk)
    assert one[:end] == other[:end]
    assert set(one[end:]) == {words["<|endoftext|>"]}
    assert set(other[end:]) == {words["!"]}


def test_exclamation_marks_change_both_embeddings_as_words(tiny: Model) -> None:
    """Not as padding, in whose place the second encoder would see nothing of them."""
    vocabulary = tiny.tokenizers[0].get_vocab()
    place = vocabulary["!</w>"]
    changed = copy.deepcopy(tiny.text_encoders[1])
    with torch.no_grad():
        changed.get_input_embeddings().weight[place] += 1
    other = replace(tiny, text_encoders=(tiny.text_encoders[0], changed))
    assert not torch.equal(encode(tiny, "hi!")[0], encode(other, "hi!")[0])
    assert torch.equal(encode(tiny, "hi")[0], encode(other, "hi")[0])


def encode(model: Model, prompt: str, chunks: int | None = None, **settings: Any) -> Any:
    text = TextEncoder(model)
    return text.encode(prompt, chunks=chunks or text.count(prompt), **settings)


def test_each_chunk_is_encoded_on_its_own(tiny: Model) -> None:
    both = encode(tiny, "a red circle BREAK two squares")
    one, other = encode(tiny, "a red circle"), encode(tiny, "two squares")
    assert torch.equal(both.prompt_embeds[:, :77], one.prompt_embeds)
    assert torch.equal(both.prompt_embeds[:, 77:], other.prompt_embeds)
    assert torch.equal(both.pooled_prompt_embeds, one.pooled_prompt_embeds)


def test_a_shorter_prompt_is_repeated(tiny: Model) -> None:
    once, thrice = encode(tiny, "dim"), encode(tiny, "dim", chunks=3)
    assert torch.equal(thrice.prompt_embeds, once.prompt_embeds.repeat(1, 3, 1))
    assert torch.equal(thrice.pooled_prompt_embeds, once.pooled_prompt_embeds)


def test_repeating_changes_no_prediction(tiny: Model, rounding: float) -> None:
    once = encode(tiny, "a red circle")
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    added = {"text_embeds": once.pooled_prompt_embeds, "time_ids": torch.zeros(1, 6)}
    with torch.inference_mode():
        one, other = (
            tiny.unet(sample, 500, embeds, added_cond_kwargs=added).sample
            for embeds in (once.prompt_embeds, once.prompt_embeds.repeat(1, 5, 1))
        )
    torch.testing.assert_close(one, other, rtol=0, atol=rounding)


def test_prompts_whose_lengths_do_not_meet_are_refused(tiny: Model) -> None:
    """Eight and nine chunks, which would take 72."""
    prompt, negative = ("a " * (75 * n) for n in (8, 9))
    with pytest.raises(InvalidPrompts, match="8, 9 pieces, which meet only at 72"):
        Engine(tiny).generate([ImageRequest(prompt=prompt, negative_prompt=negative, seed=1)])


def test_no_negative_prompt_is_zeros_or_the_empty_text_by_choice(tiny: Model) -> None:
    """The choice is part of the identity where it makes another image, and only there."""
    engine = Engine(tiny)
    base = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=2)
    requests = [base, *(replace(base, empty_negative=name) for name in ("zeros", "empty"))]
    own, zeros, empty = sorted(engine.generate(requests), key=lambda image: image.index)
    assert torch.equal(own.decoded, zeros.decoded)
    assert not torch.equal(own.decoded, empty.decoded)
    names = [image.record.identity for image in (own, zeros, empty)]
    assert names[0] == names[1] != names[2]
    assert empty.record.to_plain()["request"]["empty_negative"] == "empty"
    for other in ({"negative_prompt": "dim"}, {"guidance_scale": 1.0}):
        described = [engine.describe(engine.with_size(replace(r, **other))) for r in requests]
        assert len({record.identity for record in described}) == 1


def test_zeros_have_the_shape_of_a_prompt(tiny: Model) -> None:
    text = TextEncoder(tiny)
    one, none = text.encode("a", chunks=2), text.encode(None, chunks=2)
    for given, zeros in zip(one, none, strict=True):
        assert (zeros.shape, zeros.dtype) == (given.shape, given.dtype)
        assert not zeros.any()


def test_a_weight_moves_its_own_tokens_away_from_the_empty_prompt(tiny: Model) -> None:
    plain, empty = (encode(tiny, text).prompt_embeds for text in ("a red circle", ""))
    heavy = encode(tiny, "a (red:1.5) circle")
    (place,) = (
        1 + k
        for k, token in enumerate(to_chunks("a (red:1.5) circle", tiny.tokenizers[0], {})[0])
        if token.weight == 1.5
    )
    expected = plain.clone()
    expected[:, place] = empty[:, place] + 1.5 * (plain[:, place] - empty[:, place])
    torch.testing.assert_close(heavy.prompt_embeds, expected)
    others = torch.arange(77) != place
    assert torch.equal(heavy.prompt_embeds[:, others], plain[:, others])
    assert torch.equal(encode(tiny, "a (red:1.0) circle").prompt_embeds, plain)
    assert torch.equal(heavy.pooled_prompt_embeds, encode(tiny, "a red circle")[1])


def a_mixture() -> list[ImageRequest]:
    """Prompts of one to three chunks, longer and shorter than their negatives."""
    short = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=2)
    return [
        short,
        replace(short, prompt=LONG),
        replace(short, negative_prompt=LONG, seed=2),
        replace(short, prompt="a BREAK b", negative_prompt="(dim:1.4)", num_inference_steps=3),
        replace(short, prompt="(a:1.2) BREAK b", guidance_scale=1.0, negative_prompt=LONG),
        replace(short, prompt="a (red:0.6) circle"),
    ]


def test_images_of_prompts_of_any_length_are_the_same_alone(render: Render) -> None:
    together = render(a_mixture())
    assert len({image.decoded.numpy().tobytes() for image in together}) == len(together)
    for image in together:
        (alone,) = render([image.request])
        assert torch.equal(alone.decoded, image.decoded)
    assert [i.decoded.tolist() for i in render(a_mixture()[::-1])] == [
        i.decoded.tolist() for i in together[::-1]
    ]


def lengths_of_calls(model: Model) -> list[set[int]]:
    """In tokens, of the rows of each UNet call of a mixture."""
    seen: list[set[int]] = []

    def note(_: Any, inputs: Any, named: dict[str, Any]) -> None:
        text = named["encoder_hidden_states"]
        seen.append({row.shape[1] for row in getattr(text, "rows", [text])})

    hook = model.unet.register_forward_pre_hook(note, with_kwargs=True)
    try:
        assert len(list(Engine(model).generate(a_mixture()))) == 6
    finally:
        hook.remove()
    return seen


def test_rows_of_different_lengths_share_calls(tiny: Model) -> None:
    assert {77, 2 * 77, 3 * 77} in lengths_of_calls(tiny)


def test_with_another_attention_they_do_not(tiny: Model) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    class Other(AttnProcessor2_0):  # type: ignore[misc]
        pass

    model = replace(tiny, unet=copy.deepcopy(tiny.unet))
    model.unet.set_attn_processor(Other())
    lengths = lengths_of_calls(model)
    assert {len(own) for own in lengths} == {1}
    assert set.union(*lengths) == {77, 2 * 77, 3 * 77}
