import copy
import pickle

import pytest
from batch_sdxl.core.errors import InvalidPrompts
from batch_sdxl.core.prompts.plain_text import text_rows
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.prompt_list import compose, count_variants, expand, parse_prompts
from batch_sdxl.core.prompts.text_files import text_lines
from batch_sdxl.core.prompts.wildcards import Wildcards


def prompts_of(text: str, wildcards: Wildcards | None) -> list[Prompt]:
    return list(compose(text_rows(lambda: text_lines(text)), wildcards=wildcards))


def test_a_line_is_a_prompt() -> None:
    prompts = parse_prompts("one, two\r\n\n  # left out\n three \n", " blurry ")
    assert prompts == (Prompt("one, two", "blurry"), Prompt("three", "blurry"))


@pytest.mark.parametrize("text", ["", " \n\n", "# only a comment", "---\n---"])
def test_no_prompt_is_an_error(text: str) -> None:
    with pytest.raises(InvalidPrompts, match="at least one prompt"):
        parse_prompts(text)


def test_settings_are_a_mapping_that_cannot_change() -> None:
    settings = Settings({"seed": 2**64 - 1, "strength": 0.5})
    assert settings["seed"] == 2**64 - 1
    assert dict(settings) == {"seed": 2**64 - 1, "strength": 0.5}
    assert settings == Settings({"strength": 0.5, "seed": 2**64 - 1})
    assert hash(settings) == hash(Settings({"strength": 0.5, "seed": 2**64 - 1}))
    assert settings != Settings()
    assert "width" not in settings
    with pytest.raises(TypeError):
        settings["seed"] = 1  # type: ignore[index]
    prompt = Prompt("a", settings=settings)
    assert pickle.loads(pickle.dumps(prompt)) == copy.deepcopy(prompt) == prompt


def test_braces_are_text_without_wildcards() -> None:
    (prompt,) = prompts_of("{a|b} __x__ {", None)
    assert prompt.resolved(5) is prompt
    assert prompt.prompt == "{a|b} __x__ {"


def test_a_prompt_without_choices_resolves_to_itself() -> None:
    (prompt,) = prompts_of("a cat", Wildcards())
    assert prompt.wildcards is None
    assert prompt.resolved(5) is prompt


def test_a_row_has_the_same_text_alone_and_in_a_batch() -> None:
    lines = [f"number {k} {{red|green|blue}} {{cat|dog}}" for k in range(20)]
    together = [
        prompt.resolved(k) for k, prompt in enumerate(prompts_of("\n".join(lines), Wildcards()))
    ]
    for k in (19, 3, 0):
        (alone,) = prompts_of(lines[k], Wildcards())
        assert alone.resolved(k) == together[k]
    assert len({prompt.prompt.split(" ", 2)[2] for prompt in together}) > 3


def test_the_negative_prompt_draws_for_itself() -> None:
    choice = "{a|b|c|d|e|f|g|h}"
    (prompt,) = prompts_of(f"positive: {choice}\nnegative: {choice}", Wildcards())
    drawn = [prompt.resolved(seed) for seed in range(20)]
    assert any(one.prompt != one.negative_prompt for one in drawn)
    assert all(one.wildcards is None for one in drawn)


def test_settings_stay_when_choices_are_drawn() -> None:
    (prompt,) = prompts_of('--prompt "{a|b}" --seed 5', Wildcards())
    assert prompt.resolved(5).settings == {"seed": 5}


def test_all_variants_are_counted_then_listed() -> None:
    prompts = prompts_of("positive: {a|b} {c|d}\nnegative: {x|y}\n---\nplain", Wildcards())
    assert [count_variants(prompt) for prompt in prompts] == [8, 1]
    listed = [(one.prompt, one.negative_prompt) for one in expand(prompts, 9)]
    assert listed[:3] == [("a c", "x"), ("a c", "y"), ("a d", "x")]
    assert len(set(listed)) == len(listed) == 9
    assert listed[-1] == ("plain", "")


def test_too_many_variants_are_counted_and_refused() -> None:
    with pytest.raises(InvalidPrompts, match="at most 8 prompts of all variants, got 9"):
        list(expand(prompts_of("{a|b|c} {d|e|f}", Wildcards()), 8))
    endless = " ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 200)
    with pytest.raises(InvalidPrompts, match=r"got 10\^18 or more"):
        list(expand(prompts_of(endless, Wildcards()), 1000))


def test_a_choice_that_cannot_be_read_is_named_by_its_row() -> None:
    with pytest.raises(InvalidPrompts, match="character 3 of the prompt of line 2, character 1"):
        prompts_of("a\nb {c|d\n", Wildcards())
