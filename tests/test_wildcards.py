from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidPrompts
from batch_sdxl.core.prompts.prompt import Prompt
from batch_sdxl.core.prompts.variants import MAX_DEPTH
from batch_sdxl.core.prompts.wildcards import COUNTED_UP_TO, Wildcards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = {
    "animal.txt": "# pets\ncat\n\n 3::dog \n{tabby|tortoiseshell} kitten\n",
    "nature/tree.txt": "oak\r\nelm\r\n",
    "nature/flower.txt": "rose\n__colour__ tulip",
    "colour.txt": "red\nblue",
    "all.yaml": "art:\n  oil: [Rembrandt, 'Vermeer']\n  ink:\n    - Hokusai\n    - 2::Rackham\n"
    "place: |\n  at home\n  # not a comment in YAML\nanswer: no\n",
    "nature/more.yml": "moss:\n- green moss\n",
    "notes.md": "not read",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "wildcards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "wildcards"


@pytest.fixture
def wildcards(folder: Path) -> Wildcards:
    return Wildcards([folder])


def listed(wildcards: Wildcards, text: str) -> list[str]:
    variants = list(wildcards.variants(text))
    assert wildcards.measure(text, "it").variants == len(variants)
    return variants


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("plain", ["plain"]),
        ("{a|b}", ["a", "b"]),
        ("{a}", ["a"]),
        ("{}", [""]),
        ("{ big | small } cat{|s}", ["big cat", "big cats", "small cat", "small cats"]),
        ("{a|{b|c} d}", ["a", "b d", "c d"]),
        ("{a|a|b}", ["a", "b"]),
        ("{2::a|0.5::b|.5::c|1.::d|0::e}", ["a", "b", "c", "d"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{0-1$$a|b}", ["", "a", "b"]),
        ("{-$$a|b}", ["a", "b", "a, b", "b, a"]),
        ("{2-$$-$$a|b}", ["a-b", "b-a"]),
        ("{2$$$$a|b}", ["ab", "ba"]),
        ("{2$$3::a|{b|c}}", ["a, b", "a, c", "b, a", "c, a"]),
        (r"\{a\|b\} {x\||\{}", ["{a|b} x|", "{a|b} {"]),
        (r"\__animal__ \(x\) a|b $$", [r"__animal__ \(x\) a|b $$"]),
        ("a__b ____ __ x __", ["a__b ____ __ x __"]),
        ("__animal__", ["cat", "dog", "tabby kitten", "tortoiseshell kitten"]),
        ("__Animal__", ["cat", "dog", "tabby kitten", "tortoiseshell kitten"]),
        ("__nature/flower__", ["rose", "red tulip", "blue tulip"]),
        ("__nature/*__", ["rose", "red tulip", "blue tulip", "green moss", "oak", "elm"]),
        ("__*ree__", None),
        ("__**ree__", ["oak", "elm"]),
        ("__art/oil__", ["Rembrandt", "Vermeer"]),
        ("__art/*__", ["Hokusai", "Rackham", "Rembrandt", "Vermeer"]),
        ("__place__", ["at home", "# not a comment in YAML"]),
        ("__answer__", ["no"]),
        ("{2$$__colour__}", ["red, blue", "blue, red"]),
        ("{2$$ or $$__colour__|green}", None),
    ],
)
def test_the_syntax_people_know(
    wildcards: Wildcards, text: str, variants: list[str] | None
) -> None:
    if variants is None and "*" in text:
        with pytest.raises(InvalidPrompts, match="none for __"):
            wildcards.measure(text, "it")
        return
    if variants is None:
        variants = ["red or green", "blue or green", "green or red", "green or blue"]
    assert listed(wildcards, text) == variants
    assert {wildcards.draw(text, seed) for seed in range(300)} == set(variants)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a {b|c", "a { that is not closed at character 3 of it"),
        ("a b} c", "a } without its { at character 4"),
        ("{a|{b}", "not closed at character 1"),
        ("{3$$a|b}", "3 to 3 at character 1"),
        ("{2-1$$a|b}", "2 to 1 at character 1"),
        ("{0::a|0::b}", "an option with a weight over 0"),
        ("{" + "9" * 400 + "::a|b}", "a weight that can be counted with"),
        ("${x=a}", "not supported at character 2"),
        ("{~a|b}", "not supported"),
        ("{" * 5000, f"at most {MAX_DEPTH} braces"),
        ("{" * 30 + "}" * 29, "not closed"),
        ("x __nothing__", "none for __nothing__ at character 3 of it"),
        ("__animals__", "Did you mean __animal__?"),
        ("{3$$__colour__}", "at most 2 of __colour__"),
        ("{1-$$" + "|".join(map(str, range(200))) + "}", "at most 100"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(wildcards: Wildcards, text: str, part: str) -> None:
    with pytest.raises(InvalidPrompts) as caught:
        wildcards.measure(text, "it")
    assert part in str(caught.value)
    with pytest.raises(InvalidPrompts):
        wildcards.draw(text, 1)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.txt", "__b__", "__a__ -> __b__ -> __a__"),
        ("a.txt", "fine\n{x|y", "a.txt:2"),
        ("a.txt", "# nothing", "values in the wildcard __a__"),
        ("a.txt", "0::x", "values in the wildcard __a__"),
        ("A.TXT", "x", None),
        ("a.yaml", "a: [x", "a.yaml:"),
        ("a.yaml", "a: {b: *c}", "a.yaml"),
        ("a.yaml", "- x", "a list alone at a.yaml:1"),
        ("a.yaml", "x", "a single text at a.yaml:1"),
        ("a.yaml", "a:\n- b: c", "keys in a list at a.yaml:2"),
        ("a.yaml", "a:\n- [b]", "a list within a list at a.yaml:2"),
        ("a.yaml", "x: &x [b]\na: *x", "the reference *x at a.yaml:2"),
        ("a.yaml", "? [b]\n: c", "a.yaml:1"),
        ("a.yaml", "[" * 100_000, "at most 50 lists"),
        ("a.yaml", "a:\nc: x", "none for __a__"),
        ("a.yaml", "animal: x\na: y", "__animal__ in a.yaml:1 and in animal.txt"),
        ("a.yaml", "a: \x07", "a.yaml"),
        ("a.txt", "x\0y", "zero byte at a.txt:1"),
    ],
)
def test_bad_wildcard_files_are_named(
    folder: Path, name: str, content: str, part: str | None
) -> None:
    (folder / name).write_text(content)
    (folder / "b.txt").write_text("__a__")
    wildcards = Wildcards([folder])
    if part is None:
        assert listed(wildcards, "__a__") == ["x"]
        return
    with pytest.raises(InvalidPrompts) as caught:
        wildcards.measure("__a__", "it")
    assert part in str(caught.value)


def test_without_a_folder_there_are_no_wildcards() -> None:
    assert listed(Wildcards(), "{a|b}") == ["a", "b"]
    with pytest.raises(InvalidPrompts, match="none for __animal__"):
        Wildcards().measure("__animal__", "it")


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InvalidPrompts, match="none for __link__"):
        Wildcards([folder]).measure("__link__", "it")


def test_the_first_folder_that_has_a_name_wins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "colour.txt").write_text("mauve")
    assert listed(Wildcards([tmp_path / "mine", folder]), "__nature/flower__") == [
        "rose",
        "mauve tulip",
    ]


def test_draws_never_change(wildcards: Wildcards) -> None:
    text = "{a|b|c} {2$$x|y|z} __animal__"
    drawn = [wildcards.draw(text, seed) for seed in (0, 1, 2**64 - 1)]
    assert drawn == ["b x, y dog", "b x, y dog", "c y, x dog"]


def test_a_draw_depends_on_the_seed_and_the_place_alone(wildcards: Wildcards) -> None:
    choice = "{a|b|c|d|e|f|g|h}"
    for seed in range(10):
        first, second = wildcards.draw(f"{choice} {choice}", seed).split()
        # Words and what was drawn elsewhere do not matter.
        assert wildcards.draw(f"some words {choice} more", seed) == f"some words {first} more"
        assert wildcards.draw(f"{{one|other}} {choice}", seed).endswith(second)
        assert Wildcards().draw(choice, seed) == first
    pairs = [wildcards.draw(f"{choice} {choice}", seed).split() for seed in range(50)]
    assert any(first != second for first, second in pairs)


def test_weights_are_shares(wildcards: Wildcards) -> None:
    counts = Counter(wildcards.draw("{3::a|b}", seed) for seed in range(2000))
    assert 0.71 < counts["a"] / 2000 < 0.79
    several = Counter(wildcards.draw("{2$$9::a|9::b|c}", seed) for seed in range(2000))
    assert sum(n for text, n in several.items() if "c" in text) < 500


def test_the_digest_is_that_of_what_is_used(folder: Path) -> None:
    def digest() -> str:
        wildcards = Wildcards([folder])
        wildcards.measure("__nature/flower__", "it")
        return wildcards.digest()

    before = digest()
    (folder / "animal.txt").write_text("something else")
    assert digest() == before
    (folder / "colour.txt").write_text("red\ngreen")
    assert digest() != before


def test_texts_that_would_explode_are_refused(tmp_path: Path) -> None:
    for k in range(39):
        (tmp_path / f"w{k}.txt").write_text(f"__w{k + 1}__ __w{k + 1}__")
    (tmp_path / "w39.txt").write_text("x\ny")
    wildcards = Wildcards([tmp_path])
    with pytest.raises(InvalidPrompts, match="at most 10,000 draws"):
        wildcards.measure("__w0__", "it")
    assert wildcards.measure("__w33__", "it").variants == COUNTED_UP_TO
    (tmp_path / "w39.txt").write_text("__w40__")
    (tmp_path / "w40.txt").write_text("x")
    with pytest.raises(InvalidPrompts, match=f"at most {MAX_DEPTH} choices within each other"):
        Wildcards([tmp_path]).measure("__w0__", "it")


PIECES = st.sampled_from(
    [
        *("{", "}", "|", "$$", "::", "2", "1-", "-", "__", "a", "b", " ", "\\", "0", "$", "~", "*"),
        *("__animal__", "{a|b}", "2$$", "3::", "__x__", "\n", "é", "{2$$__colour__}", "#", "."),
    ]
)


TEXTS = st.lists(PIECES, max_size=25).map("".join)
SEEDS = st.integers(0, 2**64 - 1)
RELAXED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=300, **RELAXED)
@given(TEXTS, SEEDS)
def test_no_text_gets_past_the_error_tree(folder: Path, text: str, seed: int) -> None:
    fuzz(Wildcards([folder]), text, seed)


@pytest.mark.slow
@settings(max_examples=10_000, **RELAXED)
@given(TEXTS, SEEDS)
def test_none_of_ten_thousand_texts_gets_past_it(
    wildcards: Wildcards, text: str, seed: int
) -> None:
    fuzz(wildcards, text, seed)


def fuzz(wildcards: Wildcards, text: str, seed: int) -> None:
    try:
        measure = wildcards.measure(text, "it")
    except BatchSDXLError as error:
        assert error.action
        return
    drawn = wildcards.draw(text, seed)
    if measure.variants < 500:
        variants = list(wildcards.variants(text))
        assert drawn in variants
        assert len(variants) == measure.variants


@settings(max_examples=200, **RELAXED)
@given(
    st.lists(
        st.sampled_from(
            [
                *("a", ":", " ", "\n", "- ", "  ", "[", "]", "{", "}", "&x ", "*x", "|", ">", "'"),
                *('"', "!!int ", "---\n", "? ", "x", "a: [x]\n", "#", "\t", "%YAML 1.2\n", "2::x"),
            ]
        ),
        max_size=20,
    ).map("".join)
)
def test_no_yaml_gets_past_the_error_tree(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    wildcards = Wildcards([tmp_path])
    try:
        wildcards.read_all()
        wildcards.measure("__**__", "it")
    except BatchSDXLError as error:
        assert error.action


def test_a_tag_that_is_drawn_is_refused(folder: Path) -> None:
    (folder / "style.txt").write_text("<lora:ink:1>\n")
    prompt = Prompt("a __style__ fox", wildcards=Wildcards([folder]))
    with pytest.raises(InvalidPrompts, match=r"<lora:ink:1> at 'a <lora"):
        prompt.resolved(5)
