"""PromptList: text or a file -> prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ..core.combinations import MOST
from ..core.errors import BatchSDXLError, InvalidImage, InvalidPrompts
from ..core.prompts.files import check_kind, digest_file, read_rows
from ..core.prompts.pictures import ON_ERROR
from ..core.prompts.plain_text import text_rows
from ..core.prompts.prompt import Prompt
from ..core.prompts.prompt_list import Template, compose, expand, require
from ..core.prompts.rows import Row
from ..core.prompts.text_files import tell, text_lines
from ..core.prompts.wildcards import Wildcards
from ..core.wording import abridged, counted
from ..host.paths import check_below, find_input, input_roots
from ..host.types import PROMPTS, WORDS, BatchNode, Inputs

#: Takes a line that a person should know.
Tell = Callable[[str], None]

#: What becomes of choices in prompts.
MODES = ("off", "random", "combinatorial")

#: The folder of wildcard files, in each folder that input files may come from.
WILDCARDS = "wildcards"


class PromptList(BatchNode):
    """Makes a list of prompts of a text or a file."""

    DESCRIPTION = (
        "A list of prompts, one a line, or from a file: txt, csv, tsv, xlsx, json, jsonl, yaml, or "
        "a folder of pictures that say their prompts or have captions. A file's rows may have a "
        "negative prompt, seed, width, height, steps, cfg, strength and image of their own. Lines "
        "that start with # are left out."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        *("prompts", "prompt", "prompt list", "text list", "batch prompt", "prompts from file"),
        *("csv", "wildcards", "dynamic prompts"),
    ]
    RETURN_TYPES = (PROMPTS, "INT", "STRING", "STRING")
    RETURN_NAMES = ("prompts", "count", "texts", "negatives")
    OUTPUT_IS_LIST = (False, False, True, True)
    OUTPUT_TOOLTIPS = (
        "The prompts, for Batch Generate.",
        "How many they are.",
        "The prompts as a list, for nodes of other packs: those run once for each. Random choices "
        "are still as written: Batch Generate draws them by each image's seed.",
        "The negative prompts as a list.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return {
            "required": {
                "text": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "a red circle on a blue background\n"
                        "a yellow star on a black background",
                        "tooltip": "One prompt a line. Empty lines and # comments are left out. "
                        "For prompts of several lines put --- between them. Not used with a file.",
                    },
                ),
                "negative_prompt": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "",
                        "tooltip": "What no image should show; of all prompts that have none of "
                        "their own. Used while cfg is over 1.",
                    },
                ),
            },
            "optional": {
                "file": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "A prompt file below ComfyUI's input folder (headless: below "
                        "the workflow's or the working folder), or a folder of pictures or texts, "
                        "in place of the text. Empty: the text.",
                    },
                ),
                "template": (
                    "STRING",
                    {
                        "default": "",
                        "advanced": True,
                        "tooltip": "What to make of each row: {name} is its value in that column, "
                        "as in `{prompt}, {style}`. Empty: the prompt.",
                    },
                ),
                "prefix": (
                    "STRING",
                    {
                        "default": "",
                        "advanced": True,
                        "tooltip": "Put before each prompt, exactly as written.",
                    },
                ),
                "suffix": (
                    "STRING",
                    {
                        "default": "",
                        "advanced": True,
                        "tooltip": "Put behind each prompt, exactly as written.",
                    },
                ),
                "wildcards": (
                    list(MODES),
                    {
                        "default": MODES[0],
                        "advanced": True,
                        "tooltip": "What {a|b}, {2$$a|b|c} and __animal__ (of wildcards/animal.txt "
                        "or a .yaml file there, below the input folder) mean. off: themselves. "
                        "random: each image draws by its own seed. combinatorial: all variants.",
                    },
                ),
                "variants_limit": (
                    "INT",
                    {
                        "default": 1000,
                        "min": 1,
                        "max": MOST,
                        "advanced": True,
                        "tooltip": "The most prompts that combinatorial may make.",
                    },
                ),
                "on_error": (
                    list(ON_ERROR),
                    {
                        "default": ON_ERROR[0],
                        "advanced": True,
                        "tooltip": "A picture of the folder that does not say its prompt: stop, or "
                        "skip it. It is named in each case.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(
        cls,
        text: str | None,
        negative_prompt: str | None = "",
        file: str | None = "",
        template: str | None = "",
        prefix: str | None = "",
        suffix: str | None = "",
        wildcards: str | None = "off",
        variants_limit: int | None = 1000,
        on_error: str | None = ON_ERROR[0],
    ) -> bool | BatchSDXLError:
        """Refuse an unusable text, or a missing file, before anything runs. Files are not read."""
        try:
            if file and file.strip():
                check_kind(find_input(file.strip()))
            elif text is not None and file is not None:
                filled = Template(*(part or "" for part in (template, prefix, suffix)))
                filled = filled._replace(negative_prompt=negative_prompt or "")
                rows = _rows(text, "", ON_ERROR[0], _silent)
                limit = variants_limit or MOST
                prompts = _prompts(rows, filled, wildcards or "off", limit, _silent)
                # The first of all variants comes when all are counted.
                require(islice(prompts, 1) if wildcards == "combinatorial" else prompts, "the text")
        except BatchSDXLError as error:
            return error
        return True

    @classmethod
    def IS_CHANGED(
        cls,
        text: str | None = None,
        negative_prompt: str | None = None,
        file: str | None = "",
        template: str | None = "",
        prefix: str | None = "",
        suffix: str | None = "",
        wildcards: str | None = "off",
        on_error: str | None = ON_ERROR[0],
        **other: Any,
    ) -> str:
        """SHA-256 over the prompt file, the images that rows name and the wildcards in use."""
        digest = hashlib.sha256()
        if file and file.strip():
            digest.update(digest_file(find_input(file.strip())).encode())
        if text is not None and file is not None:
            for image in _images(_rows(text, file.strip(), on_error or "stop", _silent)):
                digest.update(digest_file(image).encode())
        if wildcards != "off":
            library = Wildcards(_folders())
            parts = (template, prefix, suffix, negative_prompt)
            if text is None or file is None or None in parts:
                # What is wired in is not known yet.
                library.read_all()
            else:
                filled = Template(*(part or "" for part in parts))
                rows = _rows(text, file.strip(), on_error or "stop", _silent)
                for _ in compose(rows, filled, library, _silent):
                    pass
            digest.update(library.digest().encode())
        return digest.hexdigest()

    def run(
        self,
        text: str,
        negative_prompt: str,
        file: str = "",
        template: str = "",
        prefix: str = "",
        suffix: str = "",
        wildcards: str = "off",
        variants_limit: int = 1000,
        on_error: str = ON_ERROR[0],
    ) -> dict[str, Any]:
        """Read the rows."""
        filled = Template(template, prefix, suffix, negative_prompt.strip())
        file = file.strip()
        notes: list[str] = []

        def note(line: str) -> None:
            tell(line)
            notes.append(line)

        rows = _rows(text, file, on_error, note)
        found = _prompts(rows, filled, wildcards, variants_limit, note)
        prompts = require(found, file or "the text")
        lines = [counted(len(prompts), "prompts"), *abridged(notes, str), *abridged(prompts, _said)]
        texts, negatives = [p.prompt for p in prompts], [p.negative_prompt for p in prompts]
        return {
            "ui": {"text": ["\n".join(lines)]},
            "result": (prompts, len(prompts), texts, negatives),
        }


def _prompts(
    rows: Iterator[Row], template: Template, mode: str, limit: int, tell: Tell
) -> Iterator[Prompt]:
    """The prompts, one at a time."""
    if mode not in MODES:
        raise InvalidPrompts(
            f"one of {', '.join(MODES)} for wildcards", repr(mode), "Choose one of them."
        )
    library = None if mode == "off" else Wildcards(_folders())
    prompts = compose(rows, template, library, tell)
    return expand(prompts, limit) if mode == "combinatorial" else prompts


def _rows(text: str, file: str, on_error: str, tell: Tell) -> Iterator[Row]:
    """The rows of the file, or of the text where none is named."""
    if not file:
        return text_rows(lambda: text_lines(text))
    path = find_input(file)
    if path.is_dir():
        check_below(path.iterdir(), input_roots())
    return read_rows(path, on_error, tell)


def _silent(line: str) -> None:
    """Told again when it runs."""


def _images(rows: Iterable[Row]) -> list[Path]:
    """The files of images that rows name, each once; Batch Generate tells which are missing."""
    names = dict.fromkeys(row.settings().get("image") for row in rows)
    paths = []
    for name in names:
        with suppress(InvalidImage):
            paths += [find_input(str(name))] if name else []
    return paths


def _folders() -> list[Path]:
    """The folders of wildcard files."""
    folders = []
    for root in input_roots():
        with suppress(InvalidImage):
            folders.append(find_input(WILDCARDS, [root]))
    return folders


def _said(prompt: Prompt) -> str:
    """A prompt as one line."""
    text = " ".join(prompt.prompt.split())
    parts = [text if len(text) <= 100 else f"{text[:99]}…"]
    if prompt.negative_prompt:
        parts.append(f"not: {' '.join(prompt.negative_prompt.split())[:60]}")
    parts += [f"{WORDS.get(name, name)} {value}" for name, value in prompt.settings.items()]
    return " | ".join(parts)
