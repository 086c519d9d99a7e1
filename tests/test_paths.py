"""Names that a workflow may give, and those that are refused."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage, OutputError
from batch_sdxl.headless.cli.bar import Bar
from batch_sdxl.headless.cli.host import HeadlessHost
from batch_sdxl.host import host
from batch_sdxl.host.paths import (
    ALLOWED_VARIABLE,
    find_input,
    find_matches,
    input_roots,
    place_output,
    ui_entry,
)
from batch_sdxl.host.roots import resolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console


class Folders(host.Host):
    def __init__(self, root: Path) -> None:
        self._root = root

    def input_folders(self) -> list[Path]:
        return [self._root / "in", self._root / "more"]

    def output_folder(self) -> Path:
        return self._root / "out"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv(ALLOWED_VARIABLE, raising=False)
    for name in ("in/a.png", "in/sub/b.png", "in/sub/10.png", "more/a.png", "more/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.png").touch()
    with host.use(Folders(tmp_path)):
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.png", "in/a.png"),  # the first folder wins
        ("c.png", "more/c.png"),
        ("sub", "in/sub"),
        ("sub/", "in/sub"),
        ("./sub/b.png", "in/sub/b.png"),
        ("sub\\b.png", "in/sub/b.png"),  # as written on Windows
        (".", "in"),
        ("{root}/in/sub", "in/sub"),
        ("{root}/more/a.png", "more/a.png"),
    ],
)
def test_names_below_the_folders_are_found(root: Path, name: str, found: str) -> None:
    assert find_input(name.format(root=root)) == (root / found).resolve()


REFUSED = [
    *("", " ", "\n", "none.png", "a\0.png", "a.png\n", "\x7f", "x" * 5000, "sub/" * 2000),
    # out of the folder
    *("..", "../secret/key.png", "sub/../../secret/key.png", "sub/..", "in/../a.png"),
    *("..\\secret\\key.png", "sub\\..\\a.png", ".. /secret", "...", "sub/ ../b.png", "./.."),
    # absolute
    *("/", "/etc", "/etc/passwd", "{root}", "{root}/secret/key.png", "{root}/in/../secret/key.png"),
    *("~", "~/a.png", "file:///etc/passwd", "http://example.com/a.png"),
    # of Windows
    *("C:", "C:a.png", "C:\\a.png", "c:/a.png", "Z:\\secret", "\\\\server\\share\\a.png"),
    *("//server/share/a.png", "\\\\?\\C:\\a.png", "\\\\.\\COM1", "//./pipe/x", "\\??\\C:\\a.png"),
    *("CON", "con", "NUL", "nul.png", "sub/NUL", "AUX.tar.gz", "PRN ", "COM1", "com9.png"),
    *("LPT1", "LPT1:", "sub/con/a.png", "CONIN$", "CONOUT$", "COM\u00b9", "NUL .png", "con:x"),
    # links
    *("out.png", "folder-out", "folder-out/key.png", "circle", "circle/a.png", "broken.png"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_lead_elsewhere_are_refused(root: Path, name: str) -> None:
    if os.name != "nt":  # there are files of the names that other systems would refuse
        for odd in ("CON", "NUL", "nul.png", "C:a.png", "...", "COM1"):
            (root / "in" / odd).touch()
    (root / "in" / "out.png").symlink_to(root / "secret" / "key.png")
    (root / "in" / "folder-out").symlink_to(root / "secret")
    (root / "in" / "circle").symlink_to(root / "in" / "circle")
    (root / "in" / "broken.png").symlink_to(root / "in" / "gone.png")
    name = name.format(root=root)
    with pytest.raises(InvalidImage, match="a file or folder below") as caught:
        find_input(name)
    assert json.dumps(name, ensure_ascii=False) in str(caught.value)
    with pytest.raises(InvalidImage):
        find_matches(name)
    assert resolve(name, input_roots()) is None


def test_links_within_and_between_the_folders_are_followed(root: Path) -> None:
    (root / "in" / "near.png").symlink_to(root / "in" / "sub" / "b.png")
    (root / "in" / "across.png").symlink_to(root / "more" / "c.png")
    assert find_input("near.png") == root / "in" / "sub" / "b.png"
    assert find_input("across.png") == root / "more" / "c.png"


def test_an_input_folder_may_be_a_link_itself(root: Path) -> None:
    (root / "link").symlink_to(root / "in")
    assert find_input("sub/b.png", [root / "link"]) == root / "in" / "sub" / "b.png"


def test_whoever_starts_the_program_can_allow_folders(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "in" / "photos").symlink_to(root / "secret")
    for name in ("photos/key.png", "photos/none.png", str(root / "secret"), "/none"):
        with pytest.raises(InvalidImage, match=ALLOWED_VARIABLE):
            find_input(name)
    with pytest.raises(InvalidImage, match=r"Put the file there, or correct its name\.$"):
        find_input("none.png")
    monkeypatch.setenv(
        ALLOWED_VARIABLE, os.pathsep.join([str(root / "none"), str(root / "secret")])
    )
    assert find_input("key.png") == root / "secret" / "key.png"
    assert find_input(str(root / "secret")) == root / "secret"
    assert find_input("photos/key.png") == root / "secret" / "key.png"
    monkeypatch.setenv(ALLOWED_VARIABLE, "secret")
    with pytest.raises(InvalidImage, match="absolute folders"):
        find_input("a.png")


def test_the_command_line_reads_beside_the_workflow_and_where_it_is_allowed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "more")
    bar = Bar(Console())
    with host.use(HeadlessHost([root / "in"], root / "out", bar)):
        assert find_input("sub/b.png") == root / "in" / "sub" / "b.png"
        assert find_input("c.png") == root / "more" / "c.png"
        assert find_input("text_to_image.json").parent == host.EXAMPLES
        with pytest.raises(InvalidImage):
            find_input("key.png")
    with host.use(HeadlessHost([root / "in"], root / "out", bar, allowed=[root / "secret"])):
        assert find_input("key.png") == root / "secret" / "key.png"
        assert find_input(str(root / "secret")) == root / "secret"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png"]),
        ("sub/*.png", ["sub/10.png", "sub/b.png"]),
        ("**/*.png", ["a.png", "sub/10.png", "sub/b.png"]),
        ("sub\\[0-9]*", ["sub/10.png"]),
        ("sub/?.png", ["sub/b.png"]),
        ("{root}/in/s*/b.png", ["sub/b.png"]),
        ("*", ["a.png"]),  # no folders
        ("**", ["a.png", "sub/10.png", "sub/b.png"]),
        ("**/s*/**/b*", ["sub/b.png"]),
        ("**/**/**/*b/**/*0*", ["sub/10.png"]),
    ],
)
def test_patterns_match_files_of_the_first_folder_that_has_any(
    root: Path, pattern: str, found: list[str]
) -> None:
    folder, matches = find_matches(pattern.format(root=root))
    assert folder == root / "in"
    assert sorted(match.relative_to(folder).as_posix() for match in matches) == found
    assert find_matches("c*.png")[0] == root / "more"


@pytest.mark.parametrize(
    "pattern", ["../*/key.png", "/etc/*", "{root}/*/key.png", "sub/**.jpg", "none*", "*/../*"]
)
def test_patterns_that_lead_elsewhere_are_refused(root: Path, pattern: str) -> None:
    with pytest.raises(InvalidImage, match="a file or folder below"):
        find_matches(pattern.format(root=root))


def test_patterns_leave_out_what_is_hidden_and_do_not_go_in_circles(root: Path) -> None:
    (root / "in" / "sub" / ".hidden.png").touch()
    (root / "in" / ".git").mkdir()
    (root / "in" / ".git" / "x.png").touch()
    for name in ("one", "two"):
        (root / "in" / "sub" / name).symlink_to(root / "in")
    matches = sorted(match.name for match in find_matches("**")[1])
    assert matches == ["10.png", "a.png", "b.png"]
    assert [match.name for match in find_matches("sub/.h*")[1]] == [".hidden.png"]


def test_a_match_that_is_a_link_to_elsewhere_is_named(root: Path) -> None:
    (root / "in" / "sub" / "z.png").symlink_to(root / "secret" / "key.png")
    with pytest.raises(InvalidImage, match=r"z\.png, a link that leads elsewhere"):
        find_matches("sub/*.png")


@pytest.mark.parametrize("pattern", ["photos/*.png", "*/key.png", "p*/*", "photos/none*"])
def test_names_in_a_folder_elsewhere_are_not_told(root: Path, pattern: str) -> None:
    (root / "in" / "photos").symlink_to(root / "secret")
    with pytest.raises(InvalidImage, match=r"in/photos, a link that leads elsewhere") as caught:
        find_matches(pattern)
    assert "key.png" not in str(caught.value)


@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.text(max_size=30)
    | st.lists(
        st.sampled_from(
            [*"/\\.:*?[]~ -", "..", "sub", "a.png", "out", "secret", "key.png", "in", "C:", "**"]
        )
    ).map("".join)
)
def test_no_name_leads_out(root: Path, name: str) -> None:
    if not (root / "in" / "out").is_symlink():
        (root / "in" / "out").symlink_to(root / "secret")
    with suppress(BatchSDXLError):
        assert find_input(name).relative_to(root).parts[0] in ("in", "more")
    with suppress(BatchSDXLError):
        for match in find_matches(name)[1]:
            assert match.resolve().relative_to(root).parts[0] in ("in", "more")
    with suppress(BatchSDXLError):
        assert place_output(name)[0].is_relative_to(root / "out")


@pytest.mark.parametrize(
    ("prefix", "folder", "stem"),
    [("batch", "out", "batch"), ("a/b/c", "out/a/b", "c"), ("a\\b", "out/a", "b")],
)
def test_outputs_lie_below_the_output_folder(
    root: Path, prefix: str, folder: str, stem: str
) -> None:
    assert place_output(prefix) == (root / folder, stem)


#: Those that are just names of files that are not there may be written.
LED_OUT = [
    name for name in REFUSED if not name.startswith(("none", "x", "sub/sub", "~", "file", "http"))
]


@pytest.mark.parametrize("prefix", [*LED_OUT, "batch/", "batch\\", ".", "a\udcff"])
def test_outputs_that_lead_elsewhere_are_refused(root: Path, prefix: str) -> None:
    (root / "out").mkdir()
    for name in ("out.png", "folder-out", "circle", "broken.png"):
        (root / "out" / name).symlink_to(root / "secret" / "x")
    with pytest.raises(OutputError, match="stays below"):
        place_output(prefix.format(root=root))
    assert not list((root / "secret").glob("x*"))


def test_files_are_shown_by_where_they_lie_below_the_output_folder(root: Path) -> None:
    file = root / "out" / "a" / "b.png"
    assert ui_entry(file) == {"filename": "b.png", "subfolder": "a", "type": "output"}
    assert ui_entry(root / "out" / "b.png")["subfolder"] == ""
