"""Holds our samplers and spacings against ComfyUI's own KSampler.

    COMFYUI_DIR=~/ComfyUI ~/ComfyUI/venv/bin/python tools/sampler_table.py --write

Runs in ComfyUI's interpreter, which needs Batch SDXL's packages and to find `batch_sdxl`. Both
sides get the built-in model's UNet, the same embeddings and the same first noise; ComfyUI's
KSampler draws the noise of its steps itself. Prints, for each sampler and spacing that both have,
the largest relative difference of a sigma and the largest difference of a pixel, of a range of 1.
With `--results FILE` a run that was stopped goes on where it was; after a change to a sampler, take
its lines out of the file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Pair -> "sigma 8", "pixel 8" and so on -> the largest difference.
Figures = dict[str, dict[str, float]]

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
SEED = 5
CFG = 5.0
# Not empty: what an empty negative prompt means is each program's own.
PROMPT, NEGATIVE = "a red circle on a blue background", "a green star"


def comfyui() -> Any:
    """ComfyUI's modules, on the CPU."""
    folder = os.environ.get("COMFYUI_DIR")
    if not folder:
        sys.exit("Expected COMFYUI_DIR to name a ComfyUI checkout, got nothing.")
    # ComfyUI reads its options as it is imported.
    sys.argv[1:] = ["--cpu"]
    sys.path.insert(0, folder)
    importlib.import_module("comfy.options").enable_args_parsing()
    for name in ("model_base", "model_patcher", "sample", "samplers", "supported_models"):
        importlib.import_module(f"comfy.{name}")
    return importlib.import_module("comfy")


class Comparison:
    """The built-in model in both programs."""

    def __init__(self, comfy: Any) -> None:
        import torch
        from batch_sdxl.core import Engine, load_model
        from batch_sdxl.core.samplers.levels import Levels
        from batch_sdxl.core.text.encoder import TextEncoder

        self._comfy = comfy
        self._model = load_model("demo", device="cpu", dtype="fp32")
        self._engine = Engine(self._model)
        self._levels = Levels(self._model.scheduler_config)
        self._size = self._model.native_size
        text = TextEncoder(self._model)
        self._conditioning = [
            [[embedding.prompt_embeds, {"pooled_output": embedding.pooled_prompt_embeds}]]
            for embedding in (text.encode(words, chunks=1) for words in (PROMPT, NEGATIVE))
        ]
        unet = self._model.unet
        ids = torch.tensor([[self._size, self._size, 0, 0, self._size, self._size]]).float()

        class Unet(torch.nn.Module):
            dtype = torch.float32

            def forward(self, x: Any, timestep: Any, context: Any, y: Any, **_: Any) -> Any:
                added = {"text_embeds": y, "time_ids": ids.expand(len(x), -1)}
                return unet(x, timestep, context, added_cond_kwargs=added).sample

        class Base(comfy.model_base.BaseModel):  # type: ignore[misc]
            def encode_adm(self, **given: Any) -> Any:
                return given["pooled_output"]

        config = comfy.supported_models.SDXL({"disable_unet_model_creation": True})
        base = Base(config)
        base.diffusion_model = Unet()
        cpu = torch.device("cpu")
        self._patcher = comfy.model_patcher.ModelPatcher(base, cpu, cpu)

    def pairs(self) -> list[tuple[str, str]]:
        """Samplers and spacings that both have."""
        from batch_sdxl.core.samplers.spacings import SPACINGS
        from batch_sdxl.core.samplers.table import SAMPLERS

        theirs = self._comfy.samplers.KSampler
        return [
            (sampler, spacing)
            for sampler in SAMPLERS
            if sampler in theirs.SAMPLERS
            for spacing in SPACINGS
            if spacing in theirs.SCHEDULERS
        ]

    def sigmas(self, sampler: str, spacing: str, steps: int) -> float:
        """The largest relative difference of a sigma."""
        from batch_sdxl.core.samplers.choice import plan_sigmas

        own = plan_sigmas(f"{sampler}:{spacing}", self._model.scheduler_config, steps)
        theirs: list[float] = self._ksampler(sampler, spacing, steps).sigmas.tolist()
        if len(own) != len(theirs):
            return float("inf")
        return max(abs(a - b) / max(b, 1e-9) for a, b in zip(own, theirs, strict=True))

    def pixels(self, pairs: list[tuple[str, str]], steps: int) -> Iterator[tuple[int, float]]:
        """The largest difference of a pixel, for each pair by its place, in any order."""
        from batch_sdxl.core import ImageRequest
        from batch_sdxl.core.models.vae import decode

        requests = [
            ImageRequest(
                prompt=PROMPT,
                negative_prompt=NEGATIVE,
                seed=SEED,
                num_inference_steps=steps,
                guidance_scale=CFG,
                scheduler=f"{sampler}:{spacing}",
            )
            for sampler, spacing in pairs
        ]
        for image in self._engine.generate(requests):
            theirs = decode(self._model, self._latents(*pairs[image.index], steps))
            yield image.index, float((image.decoded - theirs).abs().max())

    def _ksampler(self, sampler: str, spacing: str, steps: int) -> Any:
        return self._comfy.samplers.KSampler(
            self._patcher, steps, "cpu", sampler=sampler, scheduler=spacing
        )

    def _latents(self, sampler: str, spacing: str, steps: int) -> Any:
        import torch

        empty = torch.zeros(1, 4, self._size // 8, self._size // 8)
        samples = self._comfy.sample.sample(
            self._patcher,
            self._comfy.sample.prepare_noise(empty, SEED),
            steps,
            CFG,
            sampler,
            spacing,
            *self._conditioning,
            empty,
            disable_pbar=True,
            seed=SEED,
        )
        return samples * self._patcher.model.latent_format.scale_factor


def measure(
    comparison: Comparison, pairs: list[tuple[str, str]], steps: list[int], figures: Figures
) -> Iterator[str]:
    """Fill in what the figures lack; yields the name of each pair that has new ones."""
    for count in steps:
        missing = [
            pair for pair in pairs if f"pixel {count}" not in figures.get(":".join(pair), {})
        ]
        for place, difference in comparison.pixels(missing, count):
            name = ":".join(missing[place])
            own = figures.setdefault(name, {})
            own[f"sigma {count}"] = comparison.sigmas(*missing[place], count)
            own[f"pixel {count}"] = difference
            yield name


def table(figures: Figures, pairs: list[tuple[str, str]], steps: list[int], version: str) -> str:
    """The figures as Markdown: a line for each sampler, a column for each spacing."""
    spacings = list(dict.fromkeys(spacing for _, spacing in pairs))
    measured = [own for own in figures.values() if own]
    sigma = max(own[key] for own in measured for key in own if key.startswith("sigma"))
    counts = [sum(f"pixel {count}" in own for own in measured) for count in steps]
    told = " and ".join(
        f"{count} steps ({number} of {len(pairs)} pairs)"
        for count, number in zip(steps, counts, strict=True)
    )
    lines = [
        f"ComfyUI {version}, at {told}. Largest relative difference of a sigma: {sigma:.0e}.",
        "",
        f"| | {' | '.join(f'`{spacing}`' for spacing in spacings)} |",
        f"|---|{'---|' * len(spacings)}",
    ]
    for sampler in dict.fromkeys(sampler for sampler, _ in pairs):
        rows = [figures.get(f"{sampler}:{spacing}", {}) for spacing in spacings]
        cells = [[own[key] for key in own if key.startswith("pixel")] for own in rows]
        written = (f"{max(cell):.0e}" if cell else "" for cell in cells)
        lines.append(f"| `{sampler}` | {' | '.join(written)} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Put a table into the docs, in place of the one that is there."""
    file = ROOT / "docs" / "samplers.md"
    before, rest = file.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> None:
    """Compare, and print or write."""
    parser = argparse.ArgumentParser(
        description="Hold our samplers and spacings against ComfyUI's KSampler."
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 20])
    parser.add_argument(
        "--pairs", nargs="+", metavar="SAMPLER:SPACING", help="those only, not all that both have"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="keep the figures there as JSON, and measure only what it lacks",
    )
    parser.add_argument("--write", action="store_true", help="renew the table of docs/samplers.md")
    arguments = parser.parse_args()
    results: Path | None = arguments.results
    figures: Figures = {}
    if results and results.exists():
        figures = json.loads(results.read_text("utf-8"))
    comparison = Comparison(comfyui())
    pairs = comparison.pairs()
    if arguments.pairs:
        pairs = [pair for pair in pairs if ":".join(pair) in arguments.pairs]
    for name in measure(comparison, pairs, arguments.steps, figures):
        print(name, figures[name], file=sys.stderr)
        if results:
            results.write_text(json.dumps(figures, indent=1), "utf-8")
    if arguments.write:
        version = importlib.import_module("comfyui_version").__version__
        write(table(figures, pairs, arguments.steps, version))


if __name__ == "__main__":
    main()
