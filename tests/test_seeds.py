import pytest
import torch
from batch_sdxl.core.errors import BatchSDXLError, InvalidSeeds
from batch_sdxl.core.seeds import (
    MAX_SEED,
    count_seeds,
    draws_seeds,
    fix_seeds,
    make_generator,
    parse_seeds,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", (7,)),
        ("0", (0,)),
        ("+7", (7,)),
        ("007", (7,)),
        (" 1, 5,9 ", (1, 5, 9)),
        ("1; 5\n9", (1, 5, 9)),
        ("1,\r\n5", (1, 5)),
        ("1,,2,", (1, 2)),
        ("5, 5", (5, 5)),
        ("100..103", (100, 101, 102, 103)),
        ("100 .. 103", (100, 101, 102, 103)),
        ("5..5", (5,)),
        ("3..1", (3, 2, 1)),
        ("100..+3", (100, 101, 102)),
        ("0..20 step 10", (0, 10, 20)),
        ("0..25 step 10", (0, 10, 20)),
        ("25..0 step 10", (25, 15, 5)),
        ("5..+3 step 2", (5, 7, 9)),
        ("7 * 3", (7, 7, 7)),
        ("7*3", (7, 7, 7)),
        ("7 * 1", (7,)),
        ("# of the portraits\n7  # the good one\n\n8,", (7, 8)),
        ("7 # 8, 9\n10", (7, 10)),
        (f"0, {2**53 + 1}, {MAX_SEED}", (0, 2**53 + 1, MAX_SEED)),
        ("1, random(2, from=7), 2", (1, 398041235, 1506507218, 2)),
        ("random( 2 , from = 7 )", (398041235, 1506507218)),
        ("random(1, from=0)\n3..4", (*parse_seeds("random(1, from=0)"), 3, 4)),
        (f"{MAX_SEED - 1}..{MAX_SEED}", (MAX_SEED - 1, MAX_SEED)),
        (f"{MAX_SEED}..+1", (MAX_SEED,)),
        (f"0..{MAX_SEED} step {MAX_SEED}", (0, MAX_SEED)),
    ],
)
def test_expressions(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds
    assert count_seeds(text) == len(seeds)
    assert fix_seeds(text) == text
    assert not draws_seeds(text)


def test_random_seeds_are_different_and_never_change() -> None:
    assert parse_seeds("random(3, from=7)") == (398041235, 1506507218, 1846055561)
    assert len(set(parse_seeds("random(1000, from=7)"))) == 1000
    assert parse_seeds("random(1000, from=7)")[:3] == parse_seeds("random(3, from=7)")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "an empty text"),
        (" ,\n;", "none"),
        ("# nothing\n", "none"),
        ("1, two", "'two' at line 1, character 4"),
        ("1\n 2,x", "'x' at line 2, character 4"),
        ("5x", "'x' at line 1, character 2"),
        ("1 2", "'2' at line 1, character 3"),
        ("-2", "'-2' at line 1, character 1"),
        ("-12", "'-12' at line 1, character 1"),
        ("1..-1", "'-1' at line 1, character 4"),
        (str(MAX_SEED + 1), f"'{MAX_SEED + 1}' at line 1, character 1"),
        ("1" * 5000, f"'{'1' * 37}...' at line 1, character 1"),
        ("1..2..3", "'..3' at line 1, character 5"),
        ("1..", "nothing at line 1, character 4"),
        ("1.5", "'.5' at line 1, character 2"),
        ("0..10 step 0", "'0' at line 1, character 12"),
        ("0..10 step -1", "'-1' at line 1, character 12"),
        ("0..10 stop 5", "'stop 5' at line 1, character 7"),
        ("0..18446744073709551615", "'18446744073709551615' at line 1, character 4"),
        ("18446744073709551615..+2", "'+2' at line 1, character 23"),
        ("5..+0", "'0' at line 1, character 5"),
        ("7 * 0", "'0' at line 1, character 5"),
        ("7 * 2000000", "'2000000' at line 1, character 5"),
        ("7 * 600000, 7 * 600000", "'7 * 600000' at line 1, character 13"),
        ("random(3)", "')' at line 1, character 9"),
        ("random(0, from=1)", "'0' at line 1, character 8"),
        ("random(3, from=-1)", "'-1)' at line 1, character 16"),
        ("random(3, from=1", "nothing at line 1, character 17"),
        ("random 3", "'3' at line 1, character 8"),
        ("٣", "'٣' at line 1, character 1"),
        ("1e5", "'e5' at line 1, character 2"),
        ("1, 2 # 3\n4 four", "'four' at line 2, character 3"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, got: str) -> None:
    for function in (parse_seeds, fix_seeds, count_seeds):
        with pytest.raises(InvalidSeeds) as caught:
            function(text)
        assert caught.value.got == got
        assert caught.value.action


def test_minus_one_is_drawn_anew_and_told() -> None:
    text = "# new ones\n-1, 5  # and five\n-1 * 3"
    assert draws_seeds(text)
    assert count_seeds(text) == 5
    fixed = fix_seeds(text)
    assert fixed.startswith("# new ones\n")
    assert ", 5  # and five\n" in fixed
    first, five, *others = parse_seeds(fixed)
    assert five == 5
    assert len({first, *others}) == 4
    assert all(0 <= seed < 2**32 for seed in (first, *others))
    assert fix_seeds(text) != fixed
    assert fix_seeds(fixed) == fixed


def test_minus_one_is_no_seed_before_it_is_drawn() -> None:
    with pytest.raises(InvalidSeeds, match="'-1' at line 1, character 4"):
        parse_seeds("5, -1")


EXPRESSIONS = st.one_of(
    st.text(max_size=30),
    st.text("0123456789+-*., ;\n#()=eforandmstp", max_size=30),
    st.lists(
        st.sampled_from(
            [*("1", "-1", "..", "..+", "*", "step", "random(", ",", "from=", ")", " ", "\n"), "#"]
        ),
        max_size=12,
    ).map("".join),
)


@settings(max_examples=500, deadline=None)
@given(EXPRESSIONS)
def test_no_expression_gets_past_the_error_tree(text: str) -> None:
    fuzz(text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(EXPRESSIONS)
def test_none_of_ten_thousand_expressions_gets_past_it(text: str) -> None:
    fuzz(text)


def fuzz(text: str) -> None:
    try:
        fixed = fix_seeds(text)
    except BatchSDXLError as error:
        assert error.action
        return
    seeds = parse_seeds(fixed)
    assert len(seeds) == count_seeds(text) > 0
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_a_generator_draws_what_diffusers_would() -> None:
    noise = torch.randn(8, generator=make_generator(5))
    assert torch.equal(noise, torch.randn(8, generator=torch.Generator("cpu").manual_seed(5)))
