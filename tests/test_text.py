"""Prompts as users write them: weights, any length, BREAK."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, GeneratedImage, ImageRequest, Model
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
        ("( (a)", [("( ", 1.0), ("a", 1.1)]),
        ("()", [("", 1.0)]),
        ("(cat:nan)", [("cat:nan", 1.1)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        (":) (cat)", [(":) ", 1.0), ("cat", 1.1)]),
        ("[cat] {dog}", [("[cat] {dog}", 1.0)]),
    ],
)
def test_weights_are_read_as_in_comfyui(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert [(piece.text, pytest.approx(piece.weight)) for piece in parse(prompt)] == pieces


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


def words_of(model: Model, prompt: str) -> list[str]:
    tokenizer = model.tokenizers[0]
    return [
        tokenizer.decode([token.key for token in chunk])
        for chunk in to_chunks(prompt, tokenizer, {})
    ]


def test_a_long_prompt_loses_nothing_and_no_word_is_cut(tiny: Model) -> None:
    tokenizer = tiny.tokenizers[0]
    chunks = to_chunks(LONG, tokenizer, {})
    assert len(chunks) == 3
    assert all(len(chunk) <= 75 for chunk in chunks)
    assert [t.key for c in chunks for t in c] == tokenizer(LONG, verbose=False).input_ids[1:-1]
    for chunk in chunks:
        assert tokenizer.convert_ids_to_tokens([chunk[-1].key])[0].endswith("</w>")


def test_a_word_longer_than_a_chunk_is_cut(tiny: Model) -> None:
    chunks = to_chunks("q" * 200, tiny.tokenizers[0], {})
    assert [len(chunk) for chunk in chunks][:2] == [75, 75]


def test_break_ends_a_chunk(tiny: Model) -> None:
    assert [w.strip() for w in words_of(tiny, "a red BREAK circle")] == ["a red", "circle"]
    assert [w.strip() for w in words_of(tiny, "a BREAK BREAK b")] == ["a", "", "b"]


def encode(model: Model, prompt: str, chunks: int | None = None, **settings: Any) -> Any:
    text = TextEncoder(model)
    return text.encode(prompt, chunks=chunks or text.count(prompt), **settings)


def test_each_chunk_is_encoded_on_its_own(tiny: Model) -> None:
    both = encode(tiny, "a red circle BREAK two squares")
    one, other = encode(tiny, "a red circle"), encode(tiny, "two squares")
    assert torch.equal(both.prompt_embeds[:, :77], one.prompt_embeds)
    assert torch.equal(both.prompt_embeds[:, 77:], other.prompt_embeds)
    assert torch.equal(both.pooled_prompt_embeds, one.pooled_prompt_embeds)


def test_missing_chunks_are_empty_ones(tiny: Model) -> None:
    padded = encode(tiny, "dim", chunks=3)
    empty = encode(tiny, "").prompt_embeds
    assert torch.equal(padded.prompt_embeds[:, 77:], torch.cat([empty, empty], dim=1))


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


def test_rows_of_different_lengths_share_no_call(tiny: Model) -> None:
    lengths: list[int] = []
    hook = tiny.unet.register_forward_pre_hook(
        lambda _, inputs, named: lengths.append(named["encoder_hidden_states"].shape[1]),
        with_kwargs=True,
    )
    try:
        images = list(Engine(tiny).generate(a_mixture()))
    finally:
        hook.remove()
    assert len(images) == 6
    assert set(lengths) == {77, 2 * 77, 3 * 77}
