import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from batch_sdxl.headless.cli import options, recipe
from batch_sdxl.headless.cli.arguments import parser
from batch_sdxl.headless.cli.main import main
from batch_sdxl.headless.cli.parser import Once
from batch_sdxl.headless.graph.catalog import installed
from batch_sdxl.headless.graph.check import check
from batch_sdxl.headless.graph.inputs import inputs_of
from batch_sdxl.nodes.save_image_batch import USUAL_NAMES
from PIL import Image

BASE = ["generate", "--prompts", "a red circle", "--seeds"]
SMALL = ["--steps", "1", "--cfg", "1", "--width", "64", "--height", "64"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with photos as cameras make them."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (90, 61), "red").save(photos / "one.png")
    Image.new("RGB", (64, 64), "blue").save(photos / "two.png")
    return tmp_path


def test_names_count_from_0_and_a_page_is_one_option(folder: Path) -> None:
    names = ["--file-name", "batch_image_{i}", "--format", "webp", "--page"]
    assert main([*BASE, "0..2", *SMALL, *names, "--output", "out"]) == 0
    found = sorted(path.name for path in (folder / "out").iterdir())
    assert found == [*(f"batch_image_{i}.webp" for i in range(3)), "index.html"]


def test_images_may_be_files_of_any_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / "elsewhere" / "three.png"
    other.parent.mkdir()
    Image.new("RGB", (64, 64), "green").save(other)
    images = ["--images", "elsewhere/three.png", "--images", "photos/two.png"]
    options = ["--steps", "1", "--cfg", "1", "--strength", "1", "--json"]
    assert main([*BASE, "1", *options, *images]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [one["row"]["request"]["image"]["name"] for one in files] == ["three.png", "two.png"]


def test_photos_are_refused_with_options_that_fit_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [*BASE, "1", "--steps", "2", "--cfg", "1", "--images", "photos"]
    assert main(images) == 1
    err = capsys.readouterr().err
    assert "one.png with 90 x 61" in err
    assert "--fit bucket" in err
    (size,) = (part for part in err.split("such as ")[1].split(".")[:1])
    assert main([*images, *size.split()]) == 0
    with Image.open(next((folder / "output").glob("*.png"))) as image:
        assert image.size == (88, 64)
    assert main([*images, "--width", "64"]) == 1
    assert "both --width and --height" in capsys.readouterr().err
    assert main([*BASE, "1", "--fit", "pad"]) == 1
    assert "--images with --fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cfg", "nan"], 'a number for --cfg\nGot:      "nan"'),
        (["--cfg", "7,5"], "Write a point, not a comma: 7.5."),
        (["--steps", "0"], "a number of steps of 1 to 10000"),
        (["--combine", "prodcut"], 'Did you mean "product"?'),
        (["--sampler-name", "euler_a"], 'Did you mean "euler"?'),
        (["--scheduler", "karas"], 'Did you mean "karras"?'),
        (["--dtype", "fp61"], "one of auto, fp32, fp16, bf16 for --dtype"),
        (["--format", "jpg"], "jpeg"),
        (["--file-name", "../up"], "a file_name that stays in its folder"),
        (["--file-name", "{nothing}"], "with {nothing}, which is none of them"),
        (["--width", "1000000", "--height", "64"], "16384"),
        (["--rows-per-call", "3"], "3"),
        (["--output", "photos/one.png"], "one.png, a file"),
        (["--images", "photo"], 'Did you mean "photos"?'),
    ],
)
def test_what_is_wrong_is_told_by_its_option_before_anything_loads(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, "1", *options]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "node" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompts", "red"], "one --prompts\nGot:      'a red circle' and 'red'"),
        (["--prompt", "red"], "Give several prompts a line each"),
        (["--seeds=2"], """'1' and '2'\nTo do:    Give all seeds in one"""),
        (["--seed", "2"], "one --seeds"),
        (["--width", "64", "--wid", "64"], "Leave one of them out."),
        (["--output", "a", "--out", "b"], "one --output\nGot:      'a' and 'b'"),
        (["--ray", "--ray", "auto"], "'local' and 'auto'"),
    ],
)
def test_an_option_given_twice_is_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, "1", *options]) == 1
    assert said in capsys.readouterr().err


def test_every_option_of_every_command_is_taken_once_or_adds_up() -> None:
    (commands,) = (one for one in parser()._actions if one.dest == "command")
    for name, command in commands.choices.items():  # type: ignore[union-attr]
        for action in command._actions:
            once = isinstance(action, Once)
            adds = isinstance(action, argparse._AppendAction)  # of which extending is a kind
            assert once or adds or action.nargs == 0, (name, action)


def test_several_mistakes_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "1..x", "--quality", "0", "--cfg", "-1"]) == 1
    err = capsys.readouterr().err
    assert "3 things that are wrong" in err
    assert err.count("\n  - ") == 3


def test_styles_are_told_before_seeds_are_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    styles = (
        "name,prompt,negative_prompt\n--- Colours ---,,\nRed,red,\nInk,{prompt} in ink,blurry\n"
    )
    (folder / "styles.csv").write_text(styles)
    assert main(["generate", "--prompts", "styles.csv"]) == 1
    assert "a style, in which {prompt} stands for a prompt" in capsys.readouterr().err
    (folder / "styles.csv").write_text(styles.replace("{prompt}", "a star"))
    assert main(["generate", "--prompts", "styles.csv"]) == 1
    # Not for the heading, which is no prompt.
    assert "neither for styles.csv:3:1" in capsys.readouterr().err


def test_option_that_changes_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "1", *SMALL, "--strength", "0.9", "--negative-prompt", "blue"]) == 0
    err = capsys.readouterr().err
    assert "--strength is for input images" in err
    assert "--negative-prompt changes nothing at a --cfg of up to 1" in err


def test_loras_are_chained_in_the_order_given() -> None:
    catalog = installed()
    loras = [("a.safetensors", 0.8), ("b.safetensors", 1.0)]
    graph = recipe.graph(catalog, {"prompts": "x", "seeds": "1", "vae": "v.safetensors"}, loras)
    nodes = check(graph, catalog).graph.nodes
    second = nodes[nodes["5"].inputs["model"].node_id]
    first = nodes[second.inputs["model"].node_id]
    assert first.inputs["model"].node_id == "1"
    assert [(n.inputs["lora_name"], n.inputs["strength_clip"]) for n in (first, second)] == loras
    assert nodes["1"].inputs["vae"] == "v.safetensors"


def test_missing_lora_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "1", *SMALL, "--lora", "none.safetensors:0.5"]) == 1
    assert "none.safetensors" in capsys.readouterr().err


def test_help_says_what_the_nodes_have(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = installed()
    graph = recipe.graph(catalog, {"prompts": "x", "seeds": "1", "images": "i"})
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option, (node_id, name) in recipe.TARGETS.items():
        if option == "prompt_file":  # of --prompts, where that is a file
            continue
        assert f"--{option.replace('_', '-')}" in text
        if option not in options.OPTIONS:
            continue
        item = inputs_of(catalog.classes[graph.nodes[node_id].class_type])[name]
        told = options.DEFAULTS.get(option, "")
        if option == "file_name":
            assert told == USUAL_NAMES
        elif option not in ("negative_prompt", "vae"):
            assert told == str(item.default())
        if option not in ("model", "vae"):
            assert all(str(choice) in text for choice in item.choices)


def test_help_takes_neither_numpy_nor_nodes() -> None:
    code = (
        "import sys; from batch_sdxl.headless.cli.main import main\n"
        "try: main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'PIL', 'torch', 'rich', 'batch_sdxl.nodes'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_option_that_was_meant_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, right in [("--promts", "--prompts"), ("--zebra", None), ("--stepps", "--steps")]:
        with pytest.raises(SystemExit):
            main(["generate", wrong, "x"])
        said = f'{wrong}: Did you mean "{right}"?'
        assert (said in capsys.readouterr().err) is (right is not None)
