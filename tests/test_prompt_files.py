"""Prompt files as people have them: each kind, each mishap, each with what comes of it."""

import json
import logging
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidPrompts
from batch_sdxl.core.prompts.files import SUFFIXES, digest_file, read_rows
from batch_sdxl.core.prompts.pictures import parameters_fields
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.prompt_list import Template, compose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def said(text: str, negative: str = "", **values: Any) -> Prompt:
    return Prompt(text, negative, Settings(values))


LONG = "very " * 2_000_000 + "long"

#: name, bytes, and the prompts or a part of the error
CORPUS: list[tuple[str, bytes, list[Prompt] | str]] = [
    # lines
    ("plain.txt", b"a red circle\na blue star\n", [said("a red circle"), said("a blue star")]),
    ("no end of line.txt", b"a\nb", [said("a"), said("b")]),
    ("comments.txt", b"# mine\n\n a \n  # b\n\t\n", [said("a")]),
    ("windows.txt", b"a\r\nb\r\n", [said("a"), said("b")]),
    ("old mac.txt", b"a\rb\r", [said("a"), said("b")]),
    ("mark.txt", b"\xef\xbb\xbfa", [said("a")]),
    ("utf16le.txt", b"\xff\xfe" + "é\nb".encode("utf-16-le"), [said("é"), said("b")]),
    ("utf16be.txt", b"\xfe\xff" + "é\nb".encode("utf-16-be"), [said("é"), said("b")]),
    ("utf32.txt", "é\nb".encode("utf-32"), [said("é"), said("b")]),
    ("utf16 without mark.txt", "ab".encode("utf-16-le"), "zero byte at utf16 without mark.txt:1"),
    ("utf16 cut.txt", b"\xff\xfea\x00b", "utf16 cut.txt:1"),
    ("latin1.txt", b"caf\xe9", [said("café")]),
    ("signs.txt", "日本語 🦊\u2028x\u0085y".encode(), [said("日本語 🦊\u2028x\u0085y")]),
    ("long.txt", LONG.encode() + b"\nb", [said(LONG), said("b")]),
    ("binary.txt", b"a\nb\x00c", "zero byte at binary.txt:2, character 2"),
    ("quotes.txt", b'say "hi", {x} --no\n', [said('say "hi", {x} --no')]),
    # options
    (
        "a1111.txt",
        b'--prompt "a, b" --negative_prompt "x" --seed 5 --steps 9 --cfg_scale 3.5 --width 64\nb\n',
        [
            said("a, b", "x", seed=5, num_inference_steps=9, guidance_scale=3.5, width=64),
            said("b"),
        ],
    ),
    ("words.txt", b"--prompt a cat's eye --seed -1", [said("a cat's eye")]),
    ("escaped.txt", b'--prompt "a \\"b\\" c\\\\"', [said('a "b" c\\')]),
    ("open quote.txt", b'a\n--seed 5 --prompt "b', "'\"b' at open quote.txt:2:19"),
    ("sampler.txt", b'--prompt "b" --sampler_name Euler', "--sampler_name at sampler.txt:1:14"),
    ("twice.txt", b'--prompt "b" --positive c', "twice.txt:1:14"),
    ("no prompt.txt", b"--seed 5", "a prompt, got none at no prompt.txt:1"),
    # blocks
    (
        "blocks.txt",
        b"positive: a,\nb\nnegative: c\n-----\nd\n# no\n\ne\n---\n\n---\nnegative: f\npositive: g",
        [said("a,\nb", "c"), said("d\ne"), said("g", "f")],
    ),
    (
        "no rules.txt",
        b"Positive prompt: a\nNegative prompt: b\npositive:c\n",
        [said("a", "b"), said("c")],
    ),
    ("mixed.txt", b"---\n--prompt a", "--prompt at mixed.txt:2:1"),
    ("two negatives.txt", b"a\nnegative: b\nnegative: c", "second at two negatives.txt:3:1"),
    ("only negative.txt", b"negative: b", "a prompt, got none at only negative.txt:1:1"),
    # tables
    (
        "all.csv",
        b"Prompt,Negative,Seed,Width,Height,Steps,CFG Scale,Strength,Image\n"
        b"a,b,18446744073709551615,512,768,20.0,7,.5,x.png\nc,,,,,,,,\n",
        [
            said(
                "a",
                "b",
                seed=2**64 - 1,
                width=512,
                height=768,
                num_inference_steps=20,
                guidance_scale=7.0,
                strength=0.5,
                image="x.png",
            ),
            said("c"),
        ],
    ),
    ("quoted.csv", b'text\n"a, ""b""\nc"\n\n" d "\n', [said('a, "b"\nc'), said("d")]),
    ("semicolons.csv", b"positive;negative\na, b;c\n", [said("a, b", "c")]),
    ("tabs.tsv", b'prompt\tseed\na "5, b\t7\n', [said('a "5, b', seed=7)]),
    ("excel.csv", b'\xef\xbb\xbf"prompt","seed"\r\n"a","1"\r\n,\r\n', [said("a", seed=1)]),
    ("too many.csv", b"prompt,seed\na,1\nb, c,2\n", "3 at too many.csv:3:6"),
    ("open.csv", b'prompt,seed\n"a\n,1\n', "not closed at open.csv:2:1"),
    ("behind.csv", b'prompt,seed\n"a" b,1\n', "' b' at behind.csv:2:4"),
    ("seed.csv", b"prompt,seed\na,1\nb,x\n", "'x' at seed.csv:3:3"),
    ("comma.csv", b"prompt;cfg\na;7,5\n", "'7,5' at comma.csv:2:3"),
    ("infinite.csv", b"prompt,cfg\na,1e999\n", "a number for guidance_scale"),
    ("two columns.csv", b"prompt,seed,text\n", "'prompt' and 'text' at two columns.csv:1:13"),
    ("no header.csv", b"a red circle\na star\n", "called prompt"),
    ("empty cell.csv", b"prompt,seed\n,5\n", "a prompt, got none at empty cell.csv:2:1"),
    ("short row.csv", b"seed,prompt,steps\n1,a\n", [said("a", seed=1)]),
    ("line break.csv", b'prompt,seed\n"a\nb",x\n', "'x' at line break.csv:3:4"),
    # JSON
    (
        "list.json",
        b'["a", {"text": "b", "seed": 18446744073709551615, "cfg": 5, "negative": null}]',
        [said("a"), said("b", seed=2**64 - 1, guidance_scale=5.0)],
    ),
    ("object.json", b'{"prompts": ["a"]}', [said("a")]),
    ("single.json", b' {"prompt": "a", "steps": 4.0}\n', [said("a", num_inference_steps=4)]),
    ("cut.json", b'["a",\n "b"', "the end of the file"),
    ("comma.json", b'["a",\n "b" "c"]', "comma.json:2:6"),
    ("number.json", b'["a",\n  5]', "5 at number.json:2:3"),
    ("behind.json", b'["a"]\nx', "'x' at behind.json:2:1"),
    ("twice.json", b'[{"prompt": "a", "prompt": "b"}]', "each name once"),
    ("true.json", b'[{"prompt": "a", "seed": true}]', "True at true.json:1:2"),
    ("half a sign.json", b'["\\ud83d"]', "half a sign at half a sign.json:1:2"),
    ("deep.json", b"[" * 100_000, "few lists"),
    ("digits.json", b'[{"seed": ' + b"9" * 5000 + b"}]", "few digits"),
    (
        "lines.jsonl",
        b'{"prompt": "a", "seed": 1}\n\n"b"\n{"prompt": "c, d"}\r\n',
        [said("a", seed=1), said("b"), said("c, d")],
    ),
    ("bad line.jsonl", b'"a"\n{"prompt": }\n', "bad line.jsonl:2:12"),
    ("two.ndjson", b'"a" "b"', "'\"b\"' at two.ndjson:1:5"),
    # no kind
    ("prompts.docx", b"PK", "a prompt file that ends in"),
    ("broken.png", b"\x89PNG", "broken.png"),
]


def read(folder: Path, name: str, content: bytes) -> list[Prompt]:
    (folder / name).write_bytes(content)
    return list(compose(read_rows(folder / name)))


@pytest.mark.parametrize(("name", "content", "outcome"), CORPUS, ids=[one[0] for one in CORPUS])
def test_files_are_read_or_refused_by_place(
    tmp_path: Path, name: str, content: bytes, outcome: list[Prompt] | str
) -> None:
    if isinstance(outcome, list):
        assert read(tmp_path, name, content) == outcome
        return
    with pytest.raises(InvalidPrompts) as caught:
        read(tmp_path, name, content)
    assert outcome in str(caught.value)
    assert caught.value.action


def test_rows_before_a_bad_one_are_given_out_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,seed\na,1\nb,x\n")
    prompts = compose(read_rows(tmp_path / "a.csv"))
    assert next(prompts) == said("a", seed=1)
    with pytest.raises(InvalidPrompts):
        next(prompts)


def test_json_of_any_layout_is_read_like_json(tmp_path: Path) -> None:
    entries = [{"prompt": f"p {k} " + "x" * (k % 90), "seed": k, "cfg": k / 7} for k in range(3000)]
    for indent in (None, 0, 25):
        (tmp_path / "a.json").write_text(json.dumps(entries, indent=indent))
        assert list(compose(read_rows(tmp_path / "a.json"))) == [
            said(e["prompt"].strip(), seed=e["seed"], guidance_scale=e["cfg"])  # type: ignore[arg-type]
            for e in entries
        ]


def test_latin_1_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(tmp_path, "café.txt", b"caf\xe9")
    assert "café.txt is not UTF-8: read as Latin-1" in caplog.text


def test_columns_that_nothing_uses_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(tmp_path, "a.csv", b"prompt,style,note\na,oil,x\nb,ink,y\n")
    assert caplog.messages == ["a.csv:2:1: nothing uses note, style"]


def test_a_template_takes_any_column(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("Animal,Art Style,seed\ncat,oil,5\ndog,,6\n")
    template = Template("a {animal} in {art style} {of|by} {Seed}", "best, ", " !", "blurry")
    prompts = compose(read_rows(tmp_path / "a.csv"), template)
    expected = said("best, a cat in oil {of|by} 5 !", "blurry", seed=5)
    assert next(prompts) == expected
    assert next(prompts).prompt == "best, a dog in  {of|by} 6 !"
    assert not caplog.messages
    with pytest.raises(InvalidPrompts, match=r"Did you mean \{animal\}\?"):
        list(compose(read_rows(tmp_path / "a.csv"), Template("a {animl}")))
    with pytest.raises(InvalidPrompts, match="Known are animal, art_style, seed"):
        list(compose(read_rows(tmp_path / "a.csv"), Template("x {zzz}")))


def test_own_negatives_come_before_the_shared_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,negative\na,mine\nb,\n")
    prompts = compose(read_rows(tmp_path / "a.csv"), Template(negative_prompt="ours"))
    assert [prompt.negative_prompt for prompt in prompts] == ["mine", "ours"]


def save_png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


PARAMETERS = (
    "a cat,\nSteps: 5 of stone\nNegative prompt: not this,\nbut this\nNegative prompt: dim\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, "
    'Model: "x, y", Denoising strength: 0.4\nTemplate: a {cat|dog}'
)
GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "KSampler",
        "inputs": {"seed": 3, "steps": 8, "cfg": 2.0, "positive": ["2", 0], "negative": ["4", 0]},
    },
    "2": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["3", 0]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["5", 0], "clip": ["9", 0]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "dim", "clip": ["9", 0]}},
    "5": {"class_type": "PrimitiveString", "inputs": {"value": "a fox"}},
}


def test_pictures_say_their_prompts_in_natural_order(tmp_path: Path) -> None:
    record = {
        "prompt": "own",
        "negative_prompt": "",
        "seed": 2**64 - 1,
        "guidance_scale": 7.0,
        "scheduler": "euler",
        "image": {"name": "in.png", "sha256": "0"},
    }
    save_png(tmp_path / "2.png", batch_sdxl=json.dumps({"request": record}), parameters=PARAMETERS)
    save_png(tmp_path / "10.png", parameters=PARAMETERS)
    save_png(tmp_path / "1.png", prompt=json.dumps(GRAPH), workflow="{}")
    (tmp_path / "notes.txt").write_text("left out")
    assert list(compose(read_rows(tmp_path))) == [
        said("a fox", "dim", seed=3, num_inference_steps=8, guidance_scale=2.0),
        said("own", seed=2**64 - 1, guidance_scale=7.0, image="in.png"),
        said(
            "a cat,\nSteps: 5 of stone\nNegative prompt: not this,\nbut this",
            "dim",
            num_inference_steps=20,
            guidance_scale=7.5,
            seed=2**64 - 1,
            width=512,
            height=768,
            strength=0.4,
        ),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"Software": "x"},
        {"prompt": "{not json"},
        {"prompt": json.dumps({**GRAPH, "6": GRAPH["1"]})},
        {"prompt": json.dumps({**GRAPH, "3": {"inputs": {"text": ["2", 0]}}})},
        {"batch_sdxl": "[" * 100_000},
        {"parameters": "\nSteps: 20, Seed: 5"},
    ],
)
def test_a_picture_that_does_not_say_its_prompt_is_named(
    tmp_path: Path, texts: dict[str, str]
) -> None:
    save_png(tmp_path / "1.png", parameters="a\nSteps: 5")
    save_png(tmp_path / "silent.png", **texts)
    with pytest.raises(InvalidPrompts, match=r"silent\.png"):
        list(read_rows(tmp_path))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrompts, match="a folder of PNG files"):
        list(read_rows(tmp_path))


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    before = digest_file(file)
    os.utime(file, (1, 1))
    assert digest_file(file) == before
    file.write_text("b")
    assert digest_file(file) != before
    save_png(tmp_path / "1.png", parameters="a\nSteps: 5")
    folder = digest_file(tmp_path)
    save_png(tmp_path / "1.png", parameters="b\nSteps: 5")
    assert digest_file(tmp_path) != folder


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "json"])
def test_rows_are_read_one_at_a_time(tmp_path: Path, kind: str) -> None:
    """Reading takes no more memory for more rows: less than 1 MB, whatever their number."""
    lines: dict[str, Any] = {
        "txt": lambda n: (f"a red circle, number {k}\n" for k in range(n)),
        "csv": lambda n: ["prompt,seed\n", *(f"circle {k},{k}\n" for k in range(n))],
        "jsonl": lambda n: (f'{{"prompt": "circle {k}", "seed": {k}}}\n' for k in range(n)),
        "json": lambda n: ["[", ",\n".join(f'{{"prompt": "c {k}"}}' for k in range(n)), "]"],
    }
    path = tmp_path / f"many.{kind}"
    with path.open("w") as file:
        file.writelines(lines[kind](30_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in compose(read_rows(path))) == 30_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


PIECES = st.sampled_from(
    [
        *("prompt", "positive:", "negative:", "seed", "text", "--", "--prompt", "--seed", "---"),
        *('"', '""', "'", "\\", ",", ";", "\t", "\n", "\r\n", "\r", " ", "#", "[", "]", "{", "}"),
        *(":", "null", "1e999", "-1", "5", "\ufeff", "\0", "é", "🦊", '"a"', '{"prompt":"a"}'),
        *("prompt,seed\n", "a|b", "$$", "__x__", "\u2028", "Steps: 5", "9" * 50, "{seed}"),
    ]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("fuzz")


def fuzz(folder: Path, content: bytes, kind: str) -> None:
    path = folder / f"fuzz{kind}"
    path.write_bytes(content)
    try:
        for prompt in compose(
            read_rows(path), Template("{prompt} {seed}" if b"#" in content else "")
        ):
            assert isinstance(prompt.prompt, str)
            prompt.prompt.encode()
            hash(prompt)
    except BatchSDXLError as error:
        assert error.action


TEXTS = st.lists(PIECES, max_size=30).map("".join)
KINDS = st.sampled_from(SUFFIXES)
RELAXED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=300, **RELAXED)
@given(TEXTS, KINDS)
def test_no_text_gets_past_the_error_tree(scratch: Path, text: str, kind: str) -> None:
    fuzz(scratch, text.encode(), kind)


@pytest.mark.slow
@settings(max_examples=10_000, **RELAXED)
@given(TEXTS, KINDS)
def test_none_of_ten_thousand_texts_gets_past_it(scratch: Path, text: str, kind: str) -> None:
    fuzz(scratch, text.encode(), kind)


@settings(max_examples=200, **RELAXED)
@given(st.binary(max_size=200), KINDS)
def test_no_bytes_get_past_the_error_tree(scratch: Path, content: bytes, kind: str) -> None:
    fuzz(scratch, content, kind)


@settings(max_examples=100, **RELAXED)
@given(
    st.dictionaries(st.sampled_from(["prompt", "parameters", "batch_sdxl"]), st.text(max_size=60))
)
def test_no_picture_gets_past_the_error_tree(scratch: Path, texts: dict[str, str]) -> None:
    fuzz(scratch, save_png(scratch / "fuzz.png", **texts).read_bytes(), ".png")


def test_settings_of_pictures_that_count_otherwise_elsewhere() -> None:
    said = parameters_fields(
        "a cat\nSteps: 20, Seed: 5, Clip skip: 3, CFG Rescale phi: 0.7, Variation seed: 9, "
        "Variation seed strength: 0.2"
    )
    assert said["clip_skip"] == 1
    assert (said["guidance_rescale"], said["variation_seed"]) == ("0.7", "9")
