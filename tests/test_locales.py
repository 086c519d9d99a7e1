"""Nodes and examples in other languages: every text, in words the front end shows verbatim."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
from batch_sdxl import NODE_CLASS_MAPPINGS

ROOT = Path(batch_sdxl.__file__).parent
TOOL = runpy.run_path(str(ROOT / "tools" / "locales.py"))
ENGLISH: dict[str, Any] = TOOL["english"]()
SYNTAX: frozenset[str] = TOOL["SYNTAX"]
LANGUAGES = ["zh", "zh-TW", "ja", "ko", "fr", "de", "es", "ru", "pt-BR"]

Key = tuple[str, ...]


def texts(tree: dict[str, Any], above: Key = ()) -> Iterator[tuple[Key, str]]:
    """Every text with its keys, in the file's order."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from texts(value, (*above, key))
        else:
            yield (*above, key), value


def read(language: str, name: str = "nodeDefs") -> dict[str, Any]:
    path = ROOT / "locales" / language / f"{name}.json"
    tree: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return tree


def options(key: Key) -> list[str]:
    """What the combo that a tooltip belongs to offers, as it is shown in every language."""
    node, part, name, *_ = *key, "", ""
    if part != "inputs":
        return []
    kinds = NODE_CLASS_MAPPINGS[node].INPUT_TYPES()
    kind = (kinds["required"] | kinds.get("optional", {}))[name][0]
    return kind if isinstance(kind, list) else []


def literals(key: Key, english: str) -> list[str]:
    """What a translation must leave as it is: quoted code, numbers, paths, option values."""
    found = re.findall(r"`[^`]+`|\d+|[\w/]*[./][a-z]\w*", english)
    if not SYNTAX.isdisjoint(english):
        for names in re.findall(r"(?:[a-z]+, ){2,}[a-z]+", english):
            found += names.split(", ")
    found += [o for o in options(key) if re.search(rf"(?<!\w){re.escape(o)}(?!\w)", english)]
    return [f for f in found if SYNTAX.isdisjoint(f) and f != "the model's own"]


LITERALS = {key: literals(key, text) for key, text in texts(ENGLISH)}


def test_every_language_is_here() -> None:
    folders = {path.name for path in (ROOT / "locales").iterdir()}
    assert folders == {"en", *LANGUAGES}


def test_english_is_what_the_nodes_say() -> None:
    assert read("en") == TOOL["shown"](ENGLISH)  # if not: python tools/locales.py


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_every_node_and_no_other(language: str) -> None:
    assert [key for key, _ in texts(read(language))] == [key for key, _ in texts(ENGLISH)]


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_text_is_shown_as_it_is_written(language: str) -> None:
    for key, text in texts(read(language)):
        assert text == text.strip() != "", key
        assert SYNTAX.isdisjoint(text), f"{key}: none of {' '.join(sorted(SYNTAX))}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language: str) -> None:
    english = dict(texts(ENGLISH))
    same = [k for k, text in texts(read(language)) if k[-1] != "name" and text == english[k]]
    assert [key for key in same if " " in english[key]] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_literals_stay_as_they_are(language: str) -> None:
    translated = dict(texts(read(language)))
    for key, found in LITERALS.items():
        for literal in found:
            assert literal in translated[key], f"{key}: no {literal} in {translated[key]}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_names_of_a_node_are_told_apart(language: str) -> None:
    for node, tree in read(language).items():
        for part in ("inputs", "outputs"):
            names = [entry["name"] for entry in tree[part].values()]
            assert len(set(names)) == len(names), f"{node} {part}: {names}"


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_example_has_a_title_of_its_own(language: str) -> None:
    titles = read(language, "main")["batchSDXL"]["examples"]
    # The order of the cards, which the front end does not keep otherwise.
    assert [*titles] == [*read("en", "main")["batchSDXL"]["examples"]]
    assert {*titles} == {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    assert len({*titles.values()}) == len(titles)
    for title in titles.values():  # which a saved workflow begins with as its file's name
        assert re.fullmatch(r"[^\\/:*?\"<>|]{1,80}", title), title
    if language != "en":
        translated = read("en", "main")["batchSDXL"]["examples"]
        assert all(title != translated[name] for name, title in titles.items())


def test_the_pack_is_called_by_its_name_in_every_language() -> None:
    for language in ("en", *LANGUAGES):
        category = read(language, "main")["templateWorkflows"]["category"]
        assert category == {"batch-sdxl": "Batch SDXL"}
