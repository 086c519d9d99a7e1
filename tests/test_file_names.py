"""Templates of file names."""

from datetime import datetime
from typing import Any

import pytest
from batch_sdxl.core.errors import OutputError
from batch_sdxl.core.saving.file_names import FIELDS, FileName, NameTemplate, Source
from batch_sdxl.core.saving.safe_names import MOST_BYTES, safe_part, safe_text, slug
from batch_sdxl.tests.records import make_record
from hypothesis import given
from hypothesis import strategies as st

RECORD: dict[str, Any] = {
    "prompt": "A red Circle, small & ROUND",
    "seed": 7,
    "width": 64,
    "height": 128,
    "num_inference_steps": 20,
    "guidance_scale": 7.5,
    "scheduler": "dpmpp_2m:karras",
    "model": "models/base.safetensors",
    "identity": "0123456789abcdef",
    "image": "photos/cat.v2.png",
}
NOW = datetime(2026, 3, 9, 17, 5, 8)


def fill(template: str, prefix: str = "batch", index: int = 3, **changes: Any) -> FileName:
    record = make_record(**RECORD | changes)
    return NameTemplate(template).fill(Source(record, index, prefix, NOW))


def path(template: str, number: int = 1, **options: Any) -> str:
    name = fill(template, **options)
    return f"{name.folder}/{name.numbered(number)}".removeprefix("/")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{source}_{index:04}_{seed}", "cat.v2_0003_7"),
        ("{date}", "2026-03-09"),
        ("{date:%Y%m%d-%H.%M.%S}", "20260309-17.05.08"),
        ("{date:%Y/%m}/{seed}", "2026/03/7"),
        ("{date:%H:%M}", "17_05"),
        ("{prompt}", "a-red-circle-small-round"),
        ("{prompt:6}", "a-red"),
        ("{prompt:7}", "a-red-c"),
        ("{identity}", "0123456789ab"),
        ("{identity:64}", "0123456789abcdef" * 4),
        ("{width}x{height}_{steps}_{cfg}", "64x128_20_7.5"),
        ("{sampler}-{scheduler}", "dpmpp_2m-karras"),
        ("{model}", "models_base.safetensors"),
        ("a/{prefix}/{seed}", "a/batch/7"),
        ("{{{seed}}}", "{7}"),
        ("fixed", "fixed"),
        ("{number:05}", "00001"),
        ("{prefix}_{number:05}_seed{seed}", "batch_00001_seed7"),
    ],
)
def test_names_are_filled_in(template: str, expected: str) -> None:
    assert path(template) == expected


def test_every_field_can_be_used() -> None:
    for name in FIELDS:
        assert path(f"x{{{name}}}") != f"x{{{name}}}"


def test_a_prefix_may_name_folders_and_a_prompt_may_not() -> None:
    assert path("{prefix}_{seed}", prefix="a/b") == "a/b_7"
    assert path("{prompt}", prompt="../../etc/passwd") == "etc-passwd"
    assert path("{source}", image="..\\..\\x/..") == "_"
    assert path("{model}", model="../x") == ".._x"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("", "batch"),
        ("clip.gif#3", "clip_3"),
        ("C:\\photos\\cat.png", "cat"),
        (".hidden", ".hidden"),
        ("image 1", "image 1"),
    ],
)
def test_the_source_is_named_without_folder_and_ending(image: str, expected: str) -> None:
    assert path("{source}", image=image, prefix="some/batch") == expected


def test_names_that_are_taken_are_numbered() -> None:
    assert [path("{seed}", number) for number in (1, 2, 3)] == ["7", "7_2", "7_3"]
    assert [path("{seed}_{number}", number) for number in (1, 12)] == ["7_1", "7_12"]
    assert fill("a/{seed}_{number:03}_{index}") == ("a", "7_", "03", "_3")


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(OutputError) as caught:
        NameTemplate("{sed}")
    assert all(name in caught.value.expected for name in FIELDS)
    assert "{sed}" in caught.value.got


@pytest.mark.parametrize(
    "template",
    [
        *("", " ", "/x", "x/", "a//b", "..", "../x", "x/../y", "./x", "x/ ./y", "..{seed}/../y"),
        *("C:x", "a\\b", "a*", "what?", "a|b", 'a"b', "a\nb", "a\u202eb", "a\0b"),
        *("{", "}", "{seed", "{}", "{0}", "{seed!r}", "{seed.real}", "{seed:{index}}", "{Seed}"),
        *("{seed:x}", "{seed:>9}", "{seed:0005}", "{prompt:0}", "{prompt:x}", "{prompt:1000}"),
        *("{date:%}", "{date:%Q}", "{date:%-d}", "{prefix:3}", "{number}{number}", "{number}/x"),
    ],
)
def test_templates_that_cannot_be_are_refused(template: str) -> None:
    with pytest.raises(OutputError, match=r"file_name|braces|after"):
        NameTemplate(template)


@pytest.mark.parametrize("template", ["{number}{prefix}", "{number}{date:%Y/%m}"])
def test_folders_have_no_numbers(template: str) -> None:
    with pytest.raises(OutputError, match="after the last /"):
        fill(template, prefix="a/b")


def test_long_prompts_are_cut_before_anything_else() -> None:
    name = fill("{source}_{prompt:900}_{seed}", prompt="圆" * 500, seed=2**64 - 1)
    assert len(name.before.encode()) <= MOST_BYTES
    assert name.before.startswith("cat.v2_圆圆圆")
    assert name.before.endswith(f"圆_{2**64 - 1}")


def test_a_name_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(OutputError, match="at most 220 bytes"):
        fill("x" * 300)
    with pytest.raises(OutputError, match="at most 220 bytes"):
        fill("{prefix}/{seed}", prefix="x" * 300)


def test_words_of_every_script_make_a_slug() -> None:
    assert slug("  Straße: ΟΔΟΣ, हिन्दी (42%) ") == "strasse-οδοσ-हिन्दी-42"
    assert slug("!?") == ""
    assert path("{prompt}", prompt="🎲") == "no-prompt"


def test_names_are_none_of_windows_devices() -> None:
    assert safe_part("con") == "con_"
    assert safe_part("LPT1.x") == "LPT1.x_"
    assert safe_part("console") == "console"
    assert path("{source}/{seed}", image="NUL.png") == "NUL_/7"
    assert path("COM{number}") == "COM1_"
    assert safe_part("a. .") == "a"
    assert safe_part(" ..") == "_"


def test_what_turns_or_ends_a_name_is_taken_out() -> None:
    assert safe_text('a<b>:"/\\|?*\n\u202e\ud800\u2028z') == "a_b____________z"
    assert safe_text("é 漢.-_'&$%") == "é 漢.-_'&$%"


@given(st.text(), st.text(min_size=1), st.sampled_from(["{prompt:99}", "{source}", "{model}"]))
def test_no_text_leads_out_of_its_folder(prompt: str, image: str, field: str) -> None:
    name = fill(
        f"out/{field}/{field}_{{seed}}",
        prompt=prompt,
        image=image,
        model=image,
    )
    top, middle = name.folder.split("/")
    assert top == "out"
    for part in (middle, name.before):
        assert part.strip(" .")
        assert part == part.rstrip(" .")
        assert not set(part) & set('<>:"/\\|?*\0\n\r')
        assert 0 < len(part.encode()) <= MOST_BYTES
