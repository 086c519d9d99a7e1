"""The report of `batch-sdxl doctor`, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

Json = dict[str, Any]

#: Columns of the text, and of the names at its left.
WIDTH = 96
_NAMES = 14

#: Input of a node -> the node.
_NODES = {"dtype": "Load SDXL", "offload": "Load SDXL", "vae_tile": "Batch Generate"}


def to_text(report: Json) -> str:
    """The lines of a report of `doctor.examine`."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Json) -> Iterator[str]:
    versions = dict(report["versions"])
    yield f"Batch SDXL {versions.pop('batch-sdxl') or '(not installed as a package)'}"
    yield ""
    told = ", ".join(f"{name} {number or 'missing'}" for name, number in versions.items())
    yield from _entry("versions", told)
    yield from _entry("device", _device(report["device"]))
    yield from _entry("precision", _precision(report["precision"]))
    yield from _entry("attention", f"{report['attention']}, of torch")
    yield from _entry("determinism", _determinism(report["determinism"], report["device"]))
    yield from _entry("models", _models(report["folders"]))
    yield from _entry("tokenizer", _tokenizer(report["folders"]))
    yield from _entry("weights", _weights(report["model"]))
    if report["sizes"]:
        yield ""
        yield from _drawn(_table(report["sizes"]))
        yield ""
        yield from _entry("", "Memory: weights and tensors at their peak. 1 GB more is kept free.")
        yield ""
        yield from _entry("to set", _to_set(report["sizes"]))
    yield ""
    for problem in report["problems"]:
        yield from _entry("problem", problem)
    yield from _entry(
        "verdict", "a run is possible" if report["possible"] else "no run is possible"
    )


def _entry(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{name:{_NAMES}}",
        subsequent_indent=" " * _NAMES,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _device(device: Json | None) -> str:
    if device is None:
        return "unknown"
    parts = [device["name"]]
    if "cores" in device:
        parts += [_count(device["cores"], "core"), _count(device["threads"], "thread") + " in use"]
    parts.append(f"{_size(device['memory'])} of memory, {_size(device['free'])} free")
    return ", ".join(parts)


def _precision(precision: Json | None) -> str:
    if precision is None:
        return "unknown"
    return f"{precision['dtype']} ({precision['why']})"


def _determinism(flags: Json | None, device: Json | None) -> str:
    if flags is None:
        return "unknown"
    if not flags and device is not None:
        return "a CPU needs no flags; its bits depend on the number of threads"
    told = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in flags.items())
    return f"set for each call: {told}"


def _models(folders: Json | None) -> str:
    if folders is None:
        return "unknown"
    where = f"demo is built in; others by path, or by name in {folders['hugging_face_cache']}"
    return f"{where} {_else(folders)}"


def _tokenizer(folders: Json | None) -> str:
    if folders is None:
        return "unknown"
    return str(folders["tokenizer"] or f"not on this machine {_else(folders)}")


def _else(folders: Json) -> str:
    """What becomes of what is not on this machine."""
    return "(HF_HUB_OFFLINE forbids downloads)" if folders["offline"] else "(else from the hub)"


def _weights(model: Json | None) -> str:
    if model is None:
        return "unknown"
    whole = model["unet"] + model["text_encoders"] + model["vae"]
    told = (
        f"{model['name']}: {_size(whole)}, of which UNet {_size(model['unet'])}, text encoders "
        f"{_size(model['text_encoders'])}, VAE {_size(model['vae'])} in {model['vae_dtype']}"
    )
    return told if model["has_vae"] else f"{told}. It has no VAE: choose one in Load SDXL."


def _table(sizes: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    offloads = any(entry["peak_with_offload"] is not None for entry in sizes)
    for name in ("size", "rows a call", "VAE", "memory", *(["with offload"] if offloads else [])):
        table.add_column(name, no_wrap=True)
    table.add_column("fits")
    for entry in sizes:
        table.add_row(
            f"{entry['width']} x {entry['height']}" + (" *" if entry["asked"] else ""),
            str(entry["rows"]),
            f"tiles of {entry['vae_tile']}" if entry["vae_tile"] else "whole",
            _size(entry["peak"]),
            *([_size(entry["peak_with_offload"])] if offloads else []),
            _fit(entry["fits_with"]),
        )
    return table


def _drawn(table: Table) -> Iterator[str]:
    """The lines of a table as plain text, for a file as for a terminal."""
    drawn = StringIO()
    Console(file=drawn, width=WIDTH, color_system=None).print(table)
    return (line.rstrip() for line in drawn.getvalue().splitlines())


def _fit(changed: Json | None) -> str:
    if changed is None:
        return "no"
    with_what = ", ".join(name if on is True else f"{name} {on}" for name, on in changed.items())
    return f"with {with_what}" if with_what else "yes"


def _to_set(sizes: Sequence[Json]) -> str:
    (asked,) = [entry for entry in sizes if entry["asked"]]
    size = f"{asked['width']} x {asked['height']}"
    if asked["fits_with"] is None:
        return f"nothing makes images of {size} fit"
    if not asked["fits_with"]:
        return f"nothing for images of {size} (*)"
    told = " and ".join(
        f"{name} of {_NODES[name]}" + ("" if on is True else f" to {on}")
        for name, on in asked["fits_with"].items()
    )
    return f"{told}, for images of {size} (*)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
