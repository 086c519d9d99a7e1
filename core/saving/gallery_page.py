"""`index.html` beside saved images: the images of a folder, to look at and to search.

It is written anew from what the files themselves say, so that later runs add to it. It needs no
network: pictures are linked by name, everything else is in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import BatchSDXLError, OutputError
from ..images.files import is_image_name, natural, open_image
from ..request.record import Record
from ..whole_files import write_whole
from .image_file import record_in
from .texts import texts_in

NAME = "index.html"
_TEMPLATE = Path(__file__).with_suffix(".html")
#: In the head of our pages: another page of that name is never replaced.
_MARK = '<meta name="generator" content="Batch SDXL">'


@dataclass(frozen=True)
class Entry:
    """An image of the page.

    Attributes:
        name: of the file.
        width: pixels across.
        height: pixels down.
        record: of the image.
        parameters: the same as AUTOMATIC1111's web UI writes it; empty if the file has it not.
    """

    name: str
    width: int
    height: int
    record: Record
    parameters: str


def check_page(folder: Path) -> None:
    """Refuse to write a page where another one lies.

    Raises:
        OutputError: there is an `index.html` that is not ours.
    """
    path = folder / NAME
    try:
        if path.exists() and _MARK not in path.read_text("utf-8", "replace"):
            raise OutputError(
                f"no other {NAME} in the folder of the images",
                f"{path}, which Batch SDXL has not written",
                "Rename it, save to another folder, or turn page off.",
            )
    except OSError as error:
        raise _unwritten(path, error) from error


def write_page(folder: Path) -> Path:
    """Write the page of a folder anew, whole or not at all.

    Returns:
        Its path.

    Raises:
        OutputError: it cannot be written, or would replace another page.
    """
    check_page(folder)
    path = folder / NAME
    try:
        write_whole(path, page(folder.name, entries(folder)).encode("utf-8", "replace"))
    except OSError as error:
        raise _unwritten(path, error) from error
    return path


def entries(folder: Path) -> list[Entry]:
    """The images of a folder that have our record, in natural order of their names."""
    found = []
    for path in sorted(filter(is_image_name, folder.iterdir()), key=natural):
        try:
            with open_image(path) as image:
                texts, (width, height) = texts_in(image), image.size
            record = record_in(texts, path)
        except BatchSDXLError:  # no image, or none of ours
            continue
        found.append(Entry(path.name, width, height, record, texts.get("parameters", "")))
    return found


def page(title: str, images: Iterable[Entry]) -> str:
    """The page as text.

    Args:
        title: of the page.
        images: in the order they are shown.
    """
    images = list(images)
    values = {
        "mark": _MARK,
        "title": escape(title),
        "tiles": "\n".join(map(_tile, images)),
        "data": _in_script([_data(image) for image in images]),
    }
    # In one go: what is filled in may hold such braces itself.
    return re.sub(r"{{(\w+)}}", lambda m: values[m[1]], _TEMPLATE.read_text("utf-8"))


def _tile(image: Entry) -> str:
    link, prompt = escape(_link(image.name)), escape(image.record.request.prompt)
    return (
        f'<li><a href="{link}"><img src="{link}" width="{image.width}" height="{image.height}" '
        f'alt="{prompt or escape(image.name)}" loading="lazy" decoding="async"></a>'
        f"<p><b>seed {image.record.request.seed}</b> {prompt}</p></li>"
    )


def _data(image: Entry) -> dict[str, Any]:
    """What the page's script needs of an image, all as text: JavaScript would round large seeds."""
    request = image.record.request
    source = request.picture
    settings = {
        "Seed": str(request.seed),
        "Negative prompt": request.negative_prompt,
        "Steps": str(request.num_inference_steps),
        "CFG": str(request.guidance_scale),
        "Sampler": request.scheduler,
        "Strength": str(request.strength) if source else "",
        "Made from": source.name if source else "",
        "Model": image.record.model.name,
        "Size": f"{image.width} x {image.height}",
    }
    return {
        "file": image.name,
        "seed": str(request.seed),
        "prompt": request.prompt,
        "settings": {name: text for name, text in settings.items() if text},
        "recipe": json.dumps(image.record.to_plain(), ensure_ascii=False, indent=2),
        "parameters": image.parameters,
        "command": _command(image.name),
    }


def _link(name: str) -> str:
    return "./" + quote(os.fsencode(name))


def _command(name: str) -> str:
    """The command that makes the image again, for the shell of the system that wrote the page."""
    file = f"./{name}" if name.startswith("-") else name
    words = ["batch-sdxl", "reproduce", file]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _in_script(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _unwritten(path: Path, error: OSError) -> OutputError:
    return OutputError("to write a page", f"{path} ({error})", "Check the folder and its space.")
