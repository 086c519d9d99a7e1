import pytest
import torch
from batch_sdxl.core.errors import InvalidSeeds
from batch_sdxl.core.seeds import MAX_SEED, make_generator, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", (7,)),
        (" 1, 5,9 ", (1, 5, 9)),
        ("1; 5\n9", (1, 5, 9)),
        ("100..103", (100, 101, 102, 103)),
        ("3..1", (3, 2, 1)),
        ("100..+3", (100, 101, 102)),
        ("0..20 step 10", (0, 10, 20)),
        ("0..25 step 10", (0, 10, 20)),
        ("5..+3 step 2", (5, 7, 9)),
        ("7 * 3", (7, 7, 7)),
        ("# of the portraits\n7  # the good one\n\n8,", (7, 8)),
        (f"0, {2**53 + 1}, {MAX_SEED}", (0, 2**53 + 1, MAX_SEED)),
        ("1, random(2, from=7), 2", (1, *parse_seeds("random(2, from=7)"), 2)),
        (f"{MAX_SEED - 1}..{MAX_SEED}", (MAX_SEED - 1, MAX_SEED)),
    ],
)
def test_expressions(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


def test_random_seeds_are_different_and_never_change() -> None:
    assert parse_seeds("random(3, from=7)") == (398041235, 1506507218, 1846055561)
    assert len(set(parse_seeds("random(1000, from=7)"))) == 1000
    assert parse_seeds("random(1000, from=7)")[:3] == parse_seeds("random(3, from=7)")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "an empty text"),
        ("# nothing\n", "none"),
        ("1, two", "'two' at line 1, character 4"),
        ("1\n 2,x", "'x' at line 2, character 4"),
        ("-1", "'-1'"),
        (str(MAX_SEED + 1), "character 1"),
        ("1" * 5000, "character 1"),
        ("1..2..3", "'1..2..3'"),
        ("0..10 step 0", "'0..10 step 0'"),
        ("0..18446744073709551615", "character 1"),
        ("18446744073709551615..+2", "character 1"),
        ("7 * 0", "'7 * 0'"),
        ("7 * 2000000", "'7 * 2000000'"),
        ("7 * 600000, 7 * 600000", "character 13"),
        ("random(3)", "'random(3)'"),
        ("random(3, from=-1)", "'random(3, from=-1)'"),
        ("random(3, from=1", "'random(3'"),
        ("1.5", "'1.5'"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, where: str) -> None:
    with pytest.raises(InvalidSeeds) as caught:
        parse_seeds(text)
    assert where in caught.value.got
    assert caught.value.action


def test_a_generator_draws_what_diffusers_would() -> None:
    noise = torch.randn(8, generator=make_generator(5))
    assert torch.equal(noise, torch.randn(8, generator=torch.Generator("cpu").manual_seed(5)))
