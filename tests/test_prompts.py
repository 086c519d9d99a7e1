import pytest
from batch_sdxl.core.errors import InvalidPrompts
from batch_sdxl.core.prompts import Prompt, parse_prompts


def test_a_line_is_a_prompt() -> None:
    prompts = parse_prompts("one, two\r\n\n  # left out\n three \n", " blurry ")
    assert prompts == (Prompt("one, two", "blurry"), Prompt("three", "blurry"))


@pytest.mark.parametrize("text", ["", " \n\n", "# only a comment"])
def test_no_prompt_is_an_error(text: str) -> None:
    with pytest.raises(InvalidPrompts, match="at least one prompt"):
        parse_prompts(text)
