"""Prompt files as people have them: each kind, each mishap, each with what comes of it."""

import json
import logging
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidPrompts, MissingPackage
from batch_sdxl.core.prompts.files import SUFFIXES, digest_file, read_rows
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.prompt_list import Template, compose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def said(text: str, negative: str = "", **values: Any) -> Prompt:
    return Prompt(text, negative, Settings(values))


CHINESE, RUSSIAN = "蓝色背景上的红色圆圈", "красный круг на синем фоне"
LONG = "very " * 400_000 + "long"

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
    ("utf16le without mark.txt", "ab\nc".encode("utf-16-le"), [said("ab"), said("c")]),
    ("utf16be without mark.txt", "ab\nc".encode("utf-16-be"), [said("ab"), said("c")]),
    ("utf16 cut.txt", b"\xff\xfea\x00b", "utf16 cut.txt:1"),
    ("windows.csv", "text\na “café” … 5€".encode("cp1252"), [said("a “café” … 5€")]),
    ("no code page.txt", b"caf\xe9 \x81", "half a sign at no code page.txt:1"),
    ("chinese.csv", f"prompt\n{CHINESE}".encode("gb18030"), [said(CHINESE)]),
    ("japanese.txt", "青い背景に赤い円\n".encode("cp932"), [said("青い背景に赤い円")]),
    ("russian.txt", RUSSIAN.encode("cp1251"), [said(RUSSIAN)]),
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
    (
        "all at once.txt",
        b'a\n--prompt "b" --sampler_name Euler --batch_size 2 --n_iter 1 --stesp 4',
        "--sampler_name (sampler_name of Batch Generate, for all images), --batch_size (a seed for "
        "each image instead), --stesp (did you mean --steps?) at all at once.txt:2:1",
    ),
    ("one each.txt", b'--prompt "b" --batch_size 1 --n_iter 1', [said("b")]),
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
    (
        "names first.txt",
        b"name:hero shot\npositive:a\nnegative:b\n---\nname: x\npositive:c\n",
        [said("a", "b"), said("c")],
    ),
    (
        "names last.txt",
        b"positive:a\nname:x\nb\npositive:c\nname:y\nnegative: d\n",
        [said("a\nb"), said("c", "d")],
    ),
    ("names alone.txt", b"name: the rose\na moon\n", [said("name: the rose"), said("a moon")]),
    ("mixed.txt", b"---\n--prompt a", "--prompt at mixed.txt:2:1"),
    ("two negatives.txt", b"a\nnegative: b\nnegative: c", "second at two negatives.txt:3:1"),
    ("only negative.txt", b"negative: b", "a prompt, got none at only negative.txt:1:1"),
    ("labels.txt", b"prompt: a\nnegative: b\n\nPrompt: c\n", [said("a", "b"), said("c")]),
    (
        "parameters.txt",
        b"a,\nb\nNegative prompt: c\nSteps: 9, Sampler: Euler, Seed: 5\n\nd\nSteps: 9, Seed: 6\n",
        [
            said("a,\nb", "c", num_inference_steps=9, seed=5),
            said("d", num_inference_steps=9, seed=6),
        ],
    ),
    ("page.txt", b"<!DOCTYPE html>\n<p>404\n", "a web page, XML or RTF"),
    ("rich.txt", b"{\\rtf1 a red circle}\n", "a web page, XML or RTF"),
    # damaged
    ("zero.txt", b"a red\0 circle\n", "a zero byte at zero.txt:1, character 6"),
    ("broken.txt", "grün\n".encode() + b"caf\xe9\n", "half a sign at broken.txt:2, character 4"),
    ("cut.txt", "grün\nü".encode()[:-1], "half a sign at cut.txt:2, character 1"),
    # tables
    ("blank names.csv", b"prompt,seed,,\na,5,,\n", [said("a", seed=5)]),
    ("bars.csv", b"prompt|seed\na, b|5\n", [said("a, b", seed=5)]),
    ("bars.txt", b"prompt|seed\na, b|5\n", [said("a, b", seed=5)]),
    ("unseen.csv", "\u200bprompt,seed\na,5\n".encode(), [said("a", seed=5)]),
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
    ("comma.csv", b"prompt;cfg\na;7,5\n", [said("a", guidance_scale=7.5)]),
    ("thousand.csv", b"prompt;cfg\na;1,234\n", "'1,234' at thousand.csv:2:3"),
    ("rounded.csv", b"prompt,seed\na,1.23457E+14\n", "Excel has rounded it"),
    ("sep.csv", b'\xef\xbb\xbfsep=;\r\nprompt;seed\r\n"a, b";5\r\n', [said("a, b", seed=5)]),
    (
        "excel unicode.txt",
        "prompt\tnegative\tseed\r\na, b\tc\t5\r\nd\t\t\r\n".encode("utf-16"),
        [said("a, b", "c", seed=5), said("d")],
    ),
    ("commas.txt", b"prompt,seed\na,7\n", [said("a", seed=7)]),
    ("told.txt", b"sep=;\nprompt;seed\na, b;7\n", [said("a, b", seed=7)]),
    ("words.txt", b"prompt, style\na\n", [said("prompt, style"), said("a")]),
    (
        "lines of json.txt",
        b'{"prompt": "a", "seed": 7}\n{"prompt": "b"}\n',
        [said("a", seed=7), said("b")],
    ),
    ("json.txt", b'[\n "a", {"prompt": "b"}]', [said("a"), said("b")]),
    ("choices.txt", b'{a|b} c\n["x" y\n[d] e\n', [said("{a|b} c"), said('["x" y'), said("[d] e")]),
    ("one column.txt", "Prompt\r\na\r\n".encode("utf-16"), [said("a")]),
    ("tabs in a prompt.txt", b"a circle\tred\n", [said("a circle\tred")]),
    ("promt.csv", b"promt,seed\na,1\n", "Did you mean prompt by promt?"),
    ("headings.csv", b"name,prompt\n-- --\n--- x ---,\nfox,a\n", "none at headings.csv:2:1"),
    ("list.csv", b"name,prompt\n--- x ---,\nfox,a fox\n", [said("a fox")]),
    ("styles.csv", b'name,prompt\nfox,"{prompt}, red"\n', "a style, in which {prompt} stands"),
    # signs of other programs
    ("lora.txt", b"a <lora:my style:0.8> b", "<lora:my style:0.8> at lora.txt:1:1"),
    ("lora.csv", b'prompt,negative\na,"b <LyCO:x>"\n', "<LyCO:x> at lora.csv:2:3"),
    ("brackets.txt", b"[red] <b> [a:b] a AND", [said("[red] <b> [a:b] a AND")]),
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
    ("cut.json", b'["a",\n "b"', "the end of cut.json"),
    ("comma.json", b'["a",\n "b" "c"]', "comma.json:2:6"),
    ("number.json", b'["a",\n  5]', "5 at number.json, entry 2"),
    ("behind.json", b'["a"]\nx', "'x' at behind.json:2:1"),
    ("twice.json", b'[{"prompt": "a", "prompt": "b"}]', "each name once"),
    ("true.json", b'[{"prompt": "a", "seed": true}]', "True at true.json, entry 1"),
    ("half a sign.json", b'["\\ud83d"]', "half a sign at half a sign.json, entry 1"),
    ("deep.json", b"[" * 100_000, "few lists"),
    ("digits.json", b'[{"seed": ' + b"9" * 5000 + b"}]", "few digits"),
    (
        "lines.jsonl",
        b'{"prompt": "a", "seed": 1}\n\n"b"\n{"prompt": "c, d"}\r\n',
        [said("a", seed=1), said("b"), said("c, d")],
    ),
    ("bad line.jsonl", b'"a"\n{"prompt": }\n', "bad line.jsonl:2:12"),
    ("two.ndjson", b'"a" "b"', "'\"b\"' at two.ndjson:1:5"),
    # YAML
    ("list.yaml", b"- a red circle\n- 'b: c'\n", [said("a red circle"), said("b: c")]),
    (
        "entries.yml",
        b"prompts:\n- {prompt: a, seed: 5, cfg: 7.5}\n- text: no\n  negative:\n  steps: 9\n",
        [said("a", seed=5, guidance_scale=7.5), said("no", num_inference_steps=9)],
    ),
    ("empty.yaml", b"# nothing", []),
    ("key.yaml", b"animal: [cat]", "a list of prompts, got none at key.yaml:1:1"),
    ("nested.yaml", b"- a\n- {b: [c]}\n", "more within an entry at nested.yaml:2:3"),
    ("twice.yaml", b"- {seed: 1, seed: 2}", "one twice at twice.yaml:1:3"),
    ("braces.yaml", b"- {a|b} circle\n", "braces.yaml:1:9"),
    ("bomb.yaml", b"- &a [x, x]\n- [*a, *a]\n", "the reference *a at bomb.yaml:2:4"),
    ("deep.yaml", b"[" * 100_000, "at most 50 lists and mappings"),
    ("broken.xlsx", b"PK", "an Excel file (.xlsx) that can be read"),
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


def save_sheet(path: Path, *rows: list[Any]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("notes").append(["prompt"])
    book.save(path)
    return path


def test_sheets_of_excel_are_read_as_tables(tmp_path: Path) -> None:
    path = save_sheet(
        tmp_path / "a.xlsx",
        ["Prompt", "Seed", "CFG", "style", None],
        ["a, b", 5, 7.5, "oil"],
        [],
        ["c", "18446744073709551615", 20.0],
    )
    told: list[str] = []
    assert list(compose(read_rows(path, tell=told.append), tell=told.append)) == [
        said("a, b", seed=5, guidance_scale=7.5),
        said("c", seed=2**64 - 1, guidance_scale=20.0),
    ]
    assert told == [
        "a.xlsx: of 2 sheets, 'Sheet' is read, which was open when saved",
        "a.xlsx:2:1: nothing uses style",
    ]
    for rows, part in (
        ([["prompt"], ["a", "b"]], "2 at a.xlsx:2:2"),
        ([["prompt", "seed"], ["a", 10**17]], "Excel has changed its last digits"),
        ([["prompt", "seed"], ["a", "x"]], "'x' at a.xlsx:2:2"),
        ([["seed"], [5]], "a prompt, got none at a.xlsx:2:1"),
    ):
        with pytest.raises(InvalidPrompts) as caught:
            list(compose(read_rows(save_sheet(path, *rows))))
        assert part in str(caught.value)


def test_without_openpyxl_a_sheet_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingPackage, match="pip install openpyxl, or save the file as"):
        list(read_rows(tmp_path / "a.xlsx"))


def test_rows_before_a_bad_one_are_given_out_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,seed\na,1\nb,x\n")
    prompts = compose(read_rows(tmp_path / "a.csv"))
    assert next(prompts) == said("a", seed=1)
    with pytest.raises(InvalidPrompts):
        next(prompts)


def test_json_of_any_layout_is_read_like_json(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [
        {"prompt": f"p {k} " + "x" * (k % 90), "seed": k, "cfg": k / 7} for k in range(3000)
    ]
    for indent in (None, 0, 25):
        (tmp_path / "a.json").write_text(json.dumps(entries, indent=indent))
        assert list(compose(read_rows(tmp_path / "a.json"))) == [
            said(e["prompt"].strip(), seed=e["seed"], guidance_scale=e["cfg"]) for e in entries
        ]


def test_an_encoding_that_was_guessed_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(tmp_path, "café.txt", b"caf\xe9")
    assert "café.txt is not UTF-8: read as windows-1252" in caplog.text


def test_columns_that_nothing_uses_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(tmp_path, "a.csv", b"prompt,style,note\na,oil,x\nb,ink,y\n")
    assert caplog.messages == ["a.csv:2:1: nothing uses note, style"]
    caplog.clear()
    read(tmp_path, "b.csv", b"prompt,stesp\na,9\n")
    assert caplog.messages == ["b.csv:2:1: nothing uses stesp (did you mean steps?)"]
    caplog.clear()
    read(tmp_path, "c.csv", b"prompt,,\na,,\nb,,x\n")
    assert caplog.messages == ["c.csv:3:1: nothing uses column 3"]


def test_signs_of_other_programs_are_said_once_where_they_are_plain_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(tmp_path, "a.txt", b"a [red:blue:0.5] b\n[x:9]\n[a|b] c\na AND b\nA AND B\n[a|b]\n")
    assert caplog.messages == [
        "a.txt:1:1: [red:blue:0.5] is plain text here, not prompt editing",
        "a.txt:3:1: [a|b] is plain text here, not alternation",
        "a.txt:4:1: AND is plain text here, not a second prompt",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "batch_sdxl"):
        read(
            tmp_path,
            "b.txt",
            b"a <segment:face> b\n1.5::red:: a\na (b c)++\n('a', 'b').and()\na --ar 16:9\n",
        )
    assert caplog.messages == [
        "b.txt:1:1: <segment:face> is plain text here, not a tag",
        "b.txt:2:1: 1.5::red:: is plain text here, not a weight",
        "b.txt:4:1: ).and( is plain text here, not a blend",
        "b.txt:5:1: --ar is plain text here, not an option",
    ]


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


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    before = digest_file(file)
    os.utime(file, (1, 1))
    assert digest_file(file) == before
    file.write_text("b")
    assert digest_file(file) != before
    folder = digest_file(tmp_path)
    (tmp_path / "b.txt").write_text("b")
    assert digest_file(tmp_path) != folder


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_rows_are_read_one_at_a_time(tmp_path: Path, kind: str) -> None:
    """Reading takes no more memory for more rows: less than 1 MB, whatever their number."""
    lines: dict[str, Any] = {
        "txt": lambda n: (f"a red circle, number {k}\n" for k in range(n)),
        "csv": lambda n: ["prompt,seed\n", *(f"circle {k},{k}\n" for k in range(n))],
        "jsonl": lambda n: (f'{{"prompt": "circle {k}", "seed": {k}}}\n' for k in range(n)),
    }
    path = tmp_path / f"many.{kind}"
    with path.open("w") as file:
        file.writelines(lines[kind](10_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in compose(read_rows(path))) == 10_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


PIECES = st.sampled_from(
    [
        *("prompt", "positive:", "negative:", "seed", "text", "--", "--prompt", "--seed", "---"),
        *('"', '""', "'", "\\", ",", ";", "\t", "\n", "\r\n", "\r", " ", "#", "[", "]", "{", "}"),
        *(
            "sep=;\n",
            "name:",
            "- ",
            "prompts: ",
            "&a",
            "*a",
            "? ",
            "<lora:a:1>",
            "[a:0.5]",
            "{prompt}",
        ),
        *(":", "null", "1e999", "-1", "5", "\ufeff", "\0", "é", "🦊", '"a"', '{"prompt":"a"}'),
        *("prompt,seed\n", "a|b", "$$", "__x__", "\u2028", "Steps: 5", "9" * 50, "{seed}"),
    ]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


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
@settings(max_examples=50_000, **RELAXED)
@given(TEXTS, KINDS)
def test_none_of_fifty_thousand_texts_gets_past_it(scratch: Path, text: str, kind: str) -> None:
    fuzz(scratch, text.encode(), kind)


@settings(max_examples=200, **RELAXED)
@given(st.binary(max_size=200), KINDS)
def test_no_bytes_get_past_the_error_tree(scratch: Path, content: bytes, kind: str) -> None:
    fuzz(scratch, content, kind)
