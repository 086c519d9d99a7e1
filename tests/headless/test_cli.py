import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
from batch_sdxl import nodes
from batch_sdxl.headless.cli import bar
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.cli.report import Saved, to_table
from batch_sdxl.headless.cli.session import Session
from batch_sdxl.tests.records import make_record
from PIL import Image
from rich.console import Console

Json = dict[str, Any]
Save = Callable[[Any], Path]
Api = Callable[..., Json]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with a picture beside it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Image.new("RGB", (4, 2), "red").save(tmp_path / "red.png")
    return work


@pytest.fixture
def copy_image(api: Api, save: Save) -> Path:
    """A workflow that loads a picture beside it and saves it again."""
    return save(
        api(
            load=("LoadImage", {"image": "red.png"}),
            save=("SaveImage", {"images": ["load", 0], "filename_prefix": "copy"}),
            look=("PreviewImage", {"images": ["load", 0]}),
        )
    )


def test_run_writes_below_output_and_tells_the_files(
    copy_image: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(copy_image)]) == 0
    file = folder / "output" / "copy_00001_.png"
    assert file.is_file()
    out, err = capsys.readouterr()
    assert str(file) in out
    assert out.split()[:3] == ["file", "seed", "prompt"]
    assert err == ""


def test_json_is_all_that_stdout_gets(
    copy_image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    arguments = ["--set", "save.filename_prefix=[b]x", "--output", str(there), "--json"]
    assert main(["run", str(copy_image), *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": [{"file": str(there / "[b]x_00001_.png"), "node": "save", "row": None}]
    }


def test_the_table_has_the_start_of_a_long_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [make_record(seed=seed, prompt=prompt) for seed, prompt in ((1, "a" * 20_000), (2, "b"))]
    to_table([Saved(Path(f"{row.request.seed}.png"), "save", row) for row in rows], Console())
    long, short = capsys.readouterr().out.splitlines()[1:3]
    assert long.split() == ["1.png", "1", "a" * 199 + "…"]
    assert short.split() == ["2.png", "2", "b"]
    assert len(short) < 250


def test_printing_nodes_do_not_spoil_the_json(
    api: Api,
    save: Save,
    toys: dict[str, type[Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Chatty(toys["Show"]):  # type: ignore[misc, name-defined, valid-type]
        def run(self, **inputs: Any) -> Json:
            print("hello")  # noqa: T201
            row = make_record(seed=5, prompt="a [red] dog")
            return {
                "ui": {
                    "images": [{"filename": "a.png", "subfolder": "s", "type": "output"}],
                    "batch_sdxl": [row.to_json()],
                }
            }

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Chatty", Chatty)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Number", toys["Number"])
    path = save(api(a=("Number", {"value": 1}), b=("Chatty", {"value": ["a", 0]})))
    assert main(["run", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["files"][0]["row"]["request"]["prompt"] == "a [red] dog"
    assert err == "hello\n"
    assert main(["run", str(path)]) == 0
    _, told, made = capsys.readouterr().out.splitlines()
    assert told.split()[-4:] == ["5", "a", "[red]", "dog"]
    assert made.startswith("Made with cpu, 8 rows a call, 1 thread, float32, ")


def test_our_error_is_three_lines_and_code_1(
    copy_image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(copy_image), "--set", "load.image=blue.png"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    where, expected, got, action = err.splitlines()
    assert where == 'In "Load Image" (node load):'
    assert expected.startswith("Expected: a file or folder below ")
    assert got == 'Got:      "blue.png"'
    assert action == "To do:    Put the file there, or correct its name."


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("ours", 1, 'In "Failing" (node a):\nExpected: an image\n'),
        ("stop", 130, "Stopped. No file is written."),
    ],
)
def test_run_that_does_not_finish(
    api: Api,
    save: Save,
    toys: dict[str, type[Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Failing", toys["Failing"])
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Show", toys["Show"])
    path = save(api(a=("Failing", {"how": how}), b=("Show", {"value": ["a", 0]})))
    assert main(["run", str(path), "--output", "there"]) == code
    err = capsys.readouterr().err
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["dance"],
        ["generate", "--prompt", "x", "--bogus"],
        ["run", "a.json", "--bogus"],
        ["doctor", "--size", "100x64"],
        ["doctor", "--size", "big"],
        ["doctor", "--dtype", "fp8"],
    ],
)
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("command", [[], ["run"], ["generate"]])
def test_help_shows_how(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: batch-sdxl" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"batch-sdxl {batch_sdxl.__version__}\n"


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "batch_sdxl", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"batch-sdxl {batch_sdxl.__version__}\n"


def test_generate_makes_an_image_of_each_combination(
    tiny_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "prompts.txt").write_text("a red circle\na green tree\n", encoding="utf-8-sig")
    command = [
        "generate",
        "--prompts",
        "prompts.txt",
        "--seeds",
        "5, 18446744073709551615",
        "--combine",
        "product",
        "--steps",
        "2",
        "--cfg",
        "1",
        "--model",
        str(tiny_folder),
        "--negative-prompt",
        "blurry",
        "--json",
    ]
    assert main(command) == 0
    out, err = capsys.readouterr()
    files = json.loads(out)["files"]
    assert [(one["row"]["request"]["prompt"], one["row"]["request"]["seed"]) for one in files] == [
        ("a red circle", 5),
        ("a red circle", 2**64 - 1),
        ("a green tree", 5),
        ("a green tree", 2**64 - 1),
    ]
    assert err.splitlines()[-1].startswith("4/4 images, 8/8 steps, ")
    with Image.open(files[3]["file"]) as image:
        assert image.size == (64, 64)
        graph = json.loads(image.info["prompt"])
    # The picture's own graph runs, and makes the picture again.
    (folder / "again.json").write_text(json.dumps(graph))
    command = ["run", "again.json", "--output", "again", "--json"]
    assert main(command) == 1  # a file, even one's own, may name no model anywhere
    assert "--allow DIR" in capsys.readouterr().err
    assert main([*command, "--allow", str(tiny_folder)]) == 0
    again = json.loads(capsys.readouterr().out)["files"]
    for one, other in zip(files, again, strict=True):
        with Image.open(one["file"]) as before, Image.open(other["file"]) as after:
            assert before.tobytes() == after.tobytes()


def test_generate_starts_from_a_folder_anywhere(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (90, 70), "blue").save(pictures / "blue.png")
    command = [
        "generate",
        "--prompts",
        "a circle",
        "--seeds",
        "5",
        "--images",
        str(pictures),
        "--strength",
        "0.5",
        "--steps",
        "4",
        "--width",
        "64",
        "--height",
        "48",
        "--model",
        str(tiny_folder),
        "--json",
    ]
    assert main(command) == 0
    (one,) = json.loads(capsys.readouterr().out)["files"]
    with Image.open(one["file"]) as image:
        assert image.size == (64, 48)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompts", "none.txt", "--seeds", "1"], "'none.txt', which is not there"),
        (["--prompts", "none/here", "--seeds", "1"], "'none/here', which is not there"),
        (["--prompts", "table.cvs", "--seeds", "1"], "'table.cvs', which is not there"),
        (["--prompts", "my rows.tsv", "--seeds", "1"], "'my rows.tsv', which is not there"),
        (["--prompts", "x"], "--seeds, or a seed in each row of the prompts"),
        (["--prompts", "--prompt a --seed 5\nb"], "neither for line 2, character 1"),
        ([], "--prompts, or --images with pictures that say theirs"),
        (["--prompts", "x", "--seeds", "1..y"], "y' at line 1"),
        (
            ["--prompts", "x", "--seeds", "1", "--steps", "few"],
            'Expected: a whole number for --steps\nGot:      "few"',
        ),
        (["--prompts", "x", "--seeds", "1", "--images", "nowhere"], "nowhere"),
    ],
)
def test_generate_checks_before_it_loads_anything(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


@pytest.fixture
def asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Json, str]]:
    """What `generate` puts into its nodes, and what it says; nothing is run."""

    def ask(*arguments: str) -> tuple[Json, str]:
        graphs: list[Any] = []

        def produce(_: Session, graph: Any) -> int:
            graphs.append(graph)
            return 0

        monkeypatch.setattr(Session, "produce", produce)
        assert main(["generate", *arguments]) == 0
        (made,) = graphs
        inputs = {node.class_type.split("_")[1]: node.inputs for node in made.nodes.values()}
        return inputs, capsys.readouterr().err

    return ask


def test_generate_takes_files_for_files_and_texts_for_texts(
    folder: Path, tmp_path: Path, asked: Callable[..., tuple[Json, str]]
) -> None:
    (folder / "a.csv").write_text("prompt,seed\na,5\n")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("a\n")
    (tmp_path / "my rows.jsonl").write_text('{"prompt": "a"}\n')
    for given, name in (("a.csv", "a.csv"), ("texts", "texts"), ("../my rows.jsonl", None)):
        inputs, err = asked("--prompts", given, "--seeds", "1")
        assert inputs["PromptList"]["file"] == f"./{name or 'my rows.jsonl'}"
        assert err.startswith(f"Prompts: the {'folder' if given == 'texts' else 'file'} ")
    for text in (
        "a red/blue circle",
        "a circle",
        "x.txt\ny",
        "a,b/c",
        "--prompt a/b",
        "so.",
        "a v1.5 fox",
    ):
        inputs, err = asked("--prompts", text, "--seeds", "1")
        assert (inputs["PromptList"]["text"], inputs["PromptList"]["file"]) == (text, "")
        assert err.startswith("Prompts: the text ")


def test_generate_takes_the_seeds_of_rows_where_none_are_given(
    folder: Path, asked: Callable[..., tuple[Json, str]]
) -> None:
    (folder / "a.csv").write_text("prompt,seed\na,5\nb,6\n")
    inputs, _ = asked("--prompts", "a.csv")
    assert "SeedList" not in inputs
    assert "seeds" not in inputs["BatchGenerate"]
    inputs, _ = asked("--prompts", "--prompt a --seed 5")
    assert "SeedList" not in inputs


def test_generate_takes_captions_for_prompts(
    folder: Path, tmp_path: Path, asked: Callable[..., tuple[Json, str]]
) -> None:
    for place in (folder / "captioned", tmp_path / "captioned"):
        place.mkdir()
        Image.new("RGB", (8, 8)).save(place / "1.png")
        (place / "1.txt").write_text("a circle")
    inputs, err = asked("--images", "captioned", "--seeds", "1", "--on-error", "skip")
    assert inputs["PromptList"]["file"] == inputs["LoadImageBatch"]["folder"] == "./captioned"
    assert inputs["PromptList"]["on_error"] == "skip"
    assert "captioned" in err
    # Two folders of one name are told apart.
    inputs, _ = asked("--images", "../captioned", "--prompts", "captioned", "--seeds", "1")
    assert inputs["PromptList"]["file"] == "./work/captioned"
    assert inputs["LoadImageBatch"]["folder"] == "./captioned"


def test_bar_on_a_terminal_shows_images_steps_and_speed() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with bar.Bar(console) as shown:
        progress = shown.display(total_steps=8, total_images=2)
        progress.update(4, 1)
        progress.update(8, 2)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "2/2 images" in text
    assert "8/8 steps" in text
    assert "steps/s" in text


def test_lines_elsewhere_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    console = Console(file=io.StringIO())
    with bar.Bar(console) as shown:
        progress = shown.display(total_steps=100, total_images=2)
        for steps in range(1, 101):
            now += 0.25 if steps > 1 else 30  # what is done once counts for nothing
            progress.update(steps, images=steps // 50)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0] == "0/2 images, 1/100 steps, estimating the time left"
    assert lines[1] == "0/2 images, 21/100 steps, 4.0 steps/s, 20 s left"
    assert lines[-1] == "2/2 images, 100/100 steps, 4.0 steps/s"


def test_a_line_that_says_nothing_new_comes_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    console = Console(file=io.StringIO())
    with bar.Bar(console) as shown:
        progress = shown.display(total_steps=100, total_images=2)
        for _ in range(10):
            now += 7
            progress.update(0, images=0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["0/2 images, 0/100 steps, starting"] * 2


def test_doctor_tells_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "demo"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Batch SDXL ")
    assert "128 x 128 *" in out
    assert out.endswith("verdict       a run is possible\n")
    assert main(["doctor", "--model", "demo", "--dtype", "bf16", "--size", "256x64", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["precision"] == {"dtype": "bf16", "why": "asked for"}
    assert [e["height"] for e in told["sizes"] if e["asked"]] == [64]
    assert main(["doctor", "--model", "nowhere"]) == 1
    assert "which is not on this machine" in capsys.readouterr().out
    assert err == ""
