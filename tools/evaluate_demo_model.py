"""Measures the built-in model: does a picture show what its prompt says?

    python tools/evaluate_demo_model.py demo_model --report demo_model/report.json --sheet sheet.png

Asks for every colour, shape and background, for sizes, places, pairs, other picture sizes and
changes of an input picture; `scene_reader` judges the pixels. All of it takes about ten minutes on
two cores; `--every 6` asks for each sixth of the combinations, and less of the rest.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from captions import sentence
from demo_vae import to_tensor
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from scene_reader import Reading, read, read_pair
from scenes import COLOURS, PLACES, SHAPES, Pixels, Thing, draw, random_scene

BATCH = 24
FIRST_SEED = 1000
SMALL, LARGE = 0.42, 0.52  # of the shorter side; sizes drawn: small to 0.36, large from 0.5
THIRDS = (0.41, 0.59)
Words = tuple[str, str, str]  # colour, shape, background


class Judge:
    """Generates with one pipeline and fixed settings, and counts what came out right."""

    def __init__(self, model: Path, *, steps: int, guidance_scale: float) -> None:
        """Loads the stored fp16 weights in fp32, as the demo runs."""
        load = StableDiffusionXLPipeline.from_pretrained
        self.pipe = load(model, torch_dtype=torch.float32)
        self.pipe.set_progress_bar_config(disable=True)
        self.change = StableDiffusionXLImg2ImgPipeline(**self.pipe.components)
        self.change.set_progress_bar_config(disable=True)
        self.settings = {"num_inference_steps": steps, "guidance_scale": guidance_scale}

    def pictures(self, prompts: list[str], **size: int) -> list[Pixels]:
        """One picture a prompt, each from a seed of its own."""
        found: list[Pixels] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            seeds = _seeds(start, len(part))
            images = self.pipe(part, generator=seeds, **size, **self.settings)
            found += [np.asarray(image) for image in images.images]
        return found

    def changed(self, prompts: list[str], inputs: list[Pixels], strength: float) -> list[Pixels]:
        """As `pictures`, each starting from an input picture."""
        found: list[Pixels] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            images = self.change(
                part,
                image=[Image.fromarray(pixels) for pixels in inputs[start : start + BATCH]],
                strength=strength,
                generator=_seeds(start, len(part)),
                **self.settings,
            )
            found += [np.asarray(image) for image in images.images]
        return found


def _seeds(start: int, count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(FIRST_SEED + start + k) for k in range(count)]


def combinations() -> list[Words]:
    """Every colour, shape and background that the model claims."""
    every = product(COLOURS, SHAPES, COLOURS)
    return [(colour, shape, ground) for colour, shape, ground in every if colour != ground]


def plain(words: Words) -> str:
    """The plainest prompt: "a COLOUR SHAPE on a BACKGROUND background"."""
    return sentence(Thing(words[1], words[0], 0, 0, 0), words[2])


def share(right: Iterable[bool]) -> float:
    """How many of them hold, as a fraction to four places."""
    return round(float(np.mean([bool(value) for value in right])), 4)


def is_right(words: Words, reading: Reading) -> bool:
    """Whether colour, shape and background are all as asked."""
    return words == (reading.colour, reading.shape, reading.background)


def measure_words(judge: Judge, every: int) -> tuple[dict[str, Any], list[Pixels]]:
    """Colour, shape and background right, over all their combinations; and the pictures."""
    asked = combinations()
    Random(3).shuffle(asked)
    asked = asked[::every]
    pictures = judge.pictures([plain(words) for words in asked])
    pairs = list(zip(asked, [read(picture) for picture in pictures], strict=True))
    by_word = {
        word: share(is_right(w, r) for w, r in pairs if word in w) for word in (*COLOURS, *SHAPES)
    }
    return {
        "prompts": len(asked),
        "colour": share(w[0] == r.colour for w, r in pairs),
        "shape": share(w[1] == r.shape for w, r in pairs),
        "background": share(w[2] == r.background for w, r in pairs),
        "all_three": share(is_right(w, r) for w, r in pairs),
        "all_three_by_word": by_word,
        "wrong": [plain(w) for w, r in pairs if not is_right(w, r)],
    }, pictures


def measure_detail(
    judge: Judge, count: int, details: dict[str, Callable[[Reading], bool]]
) -> dict[str, Any]:
    """Each detail added to `count` prompts: is it seen, and the rest still right?"""
    random, report = Random(4), {}
    for detail, seen in details.items():
        asked = random.sample(combinations(), count)
        pictures = judge.pictures([f"{plain(words)}, {detail}" for words in asked])
        pairs = list(zip(asked, [read(picture) for picture in pictures], strict=True))
        report[detail] = {
            "detail": share(seen(r) for _, r in pairs),
            "all_three": share(is_right(w, r) for w, r in pairs),
        }
    return report


def is_at(place: str) -> Callable[[Reading], bool]:
    """A test for the third of the picture, across and down, that the place names."""

    def third(value: float) -> int:
        return int(value > THIRDS[0]) + int(value > THIRDS[1]) - 1

    return lambda reading: (third(reading.x), third(reading.y)) == PLACES[place]


def measure_pairs(judge: Judge, count: int) -> dict[str, Any]:
    """Two things, one left and one right: both wholly right, and each for itself."""
    random = Random(5)
    scenes = [random_scene(random, pair_share=1) for _ in range(count)]
    prompts = []
    for scene in scenes:
        first, second = (sentence(thing, scene.background) for thing in scene.things)
        prompts.append(f"{first.split(' on ')[0]} and {second}")
    found = []
    for scene, picture in zip(scenes, judge.pictures(prompts), strict=True):
        for thing, reading in zip(scene.things, read_pair(picture), strict=True):
            found.append(is_right((thing.colour, thing.shape, scene.background), reading))
    both = [one and two for one, two in zip(found[::2], found[1::2], strict=True)]
    return {"prompts": count, "each": share(found), "both": share(both)}


def measure_sizes(judge: Judge, count: int) -> dict[str, Any]:
    """Colour, shape and background right at other picture sizes."""
    random, report = Random(6), {}
    for width, height in ((192, 128), (128, 192), (192, 192)):
        asked = random.sample(combinations(), count)
        pictures = judge.pictures([plain(w) for w in asked], width=width, height=height)
        pairs = zip(asked, pictures, strict=True)
        report[f"{width}x{height}"] = share(is_right(w, read(picture)) for w, picture in pairs)
    return report


def measure_change(judge: Judge, count: int) -> dict[str, Any]:
    """An input picture's thing, asked for in another colour: follows the prompt, stays in place."""
    random, report = Random(7), {}
    scenes = [random_scene(random, pair_share=0) for _ in range(count)]
    asked: list[Words] = []
    for scene in scenes:
        thing = scene.things[0]
        colours = [c for c in COLOURS if c not in (scene.background, thing.colour)]
        asked.append((random.choice(colours), thing.shape, scene.background))
    inputs = [draw(scene) for scene in scenes]
    before = [read(pixels) for pixels in inputs]
    for strength in (0.5, 0.6, 0.7, 0.8):
        pictures = judge.changed([plain(words) for words in asked], inputs, strength)
        after = [read(picture) for picture in pictures]
        moved = [abs(a.x - b.x) + abs(a.y - b.y) for a, b in zip(after, before, strict=True)]
        report[f"strength {strength}"] = {
            "all_three": share(is_right(w, r) for w, r in zip(asked, after, strict=True)),
            "in_place": share(distance < 0.1 for distance in moved),
        }
    return report


@torch.no_grad()
def measure_vae(judge: Judge, count: int) -> float:
    """Mean PSNR in dB of drawn pictures, encoded and decoded."""
    random = Random(8)
    values = []
    for _ in range(count):
        original = to_tensor(draw(random_scene(random)))[None]
        mean = judge.pipe.vae.encode(original).latent_dist.mean
        decoded = judge.pipe.vae.decode(mean).sample.clamp(-1, 1)
        values.append(-10 * torch.log10((decoded - original).square().mean() / 4).item())
    return round(float(np.mean(values)), 2)


def save_sheet(pictures: list[Pixels], path: Path, columns: int = 12) -> None:
    """The first pictures side by side."""
    shown = pictures[: len(pictures) // columns * columns][: columns * 6]
    rows = [np.concatenate(shown[k : k + columns], 1) for k in range(0, len(shown), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)


def main() -> None:
    """Runs every measure and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--every", type=int, default=1, help="ask each n-th combination only")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=6.0)
    options = parser.parse_args()
    judge = Judge(options.model, steps=options.steps, guidance_scale=options.guidance_scale)
    count = max(12, 48 // options.every)
    words, pictures = measure_words(judge, options.every)
    if options.sheet:
        save_sheet(pictures, options.sheet)
    report = {
        "settings": {"scheduler": "EulerDiscreteScheduler", **judge.settings},
        "words": words,
        "sizes": measure_detail(
            judge, count, {"small": lambda r: r.size < SMALL, "large": lambda r: r.size > LARGE}
        ),
        "places": measure_detail(judge, max(12, count // 2), {p: is_at(p) for p in PLACES}),
        "pairs": measure_pairs(judge, 2 * count),
        "picture_sizes": measure_sizes(judge, count),
        "image_to_image": measure_change(judge, count),
        "vae_psnr_db": measure_vae(judge, 100),
    }
    text = json.dumps(report, indent=2)
    if options.report:
        options.report.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
