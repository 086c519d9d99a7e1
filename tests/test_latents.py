"""Latents out of and into Batch Generate, as ComfyUI hands them on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_sdxl import NODE_CLASS_MAPPINGS
from batch_sdxl.core import Engine, ImageRequest, Model, reproduce, save, verify
from batch_sdxl.core.errors import BatchSDXLError, InvalidImage, InvalidRequest
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.store.store import ImageStore
from batch_sdxl.host import host, image_batches


class Keeping(host.Host):
    """With a store below one folder; knows how many steps were taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = 0

    def store(self) -> ImageStore:
        return ImageStore(self.folder)

    def progress(
        self, total_steps: int, total_images: int, *, kept: int = 0, node_id: str = ""
    ) -> host.ProgressDisplay:
        self.steps += total_steps
        return host.ProgressDisplay()


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with host.use(Keeping(tmp_path / "store")):
        current = host.current()
        assert isinstance(current, Keeping)
        yield current


def generate(model: Model, **changes: Any) -> Any:
    inputs: dict[str, Any] = {
        "prompts": (Prompt("red"), Prompt("blue", "dim"), Prompt("green")),
        "seeds": (1, 2, 3),
        "width": 0,
        "height": 0,
        "steps": 2,
        "cfg": 5.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "strength": 0.5,
        "combine": "zip",
    }
    lists = {name: [value] for name, value in (inputs | changes).items()}
    return NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]().run(model=[model], **lists)


def decoded(model: Model, latents: torch.Tensor) -> torch.Tensor:
    """(B, 4, h, w) as ComfyUI's VAE Decode takes them -> (B, H, W, 3) in 0..1."""
    with torch.no_grad():
        (images,) = model.vae.decode(latents, return_dict=False)
    return torch.as_tensor((images / 2 + 0.5).clamp(0, 1).movedim(1, -1))


@pytest.mark.parametrize("limit", [0, 2**30])  # in a file, in memory
def test_latents_decode_to_the_images_beside_them(
    tiny: Model, keeping: Keeping, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(image_batches, "IN_A_FILE", limit)
    prompts = (Prompt("red"), Prompt("blue", settings=Settings({"width": 72})), Prompt("green"))
    images, rows, latents = generate(tiny, prompts=prompts)
    assert [one["samples"].shape for one in latents] == [(1, 4, 8, 8), (1, 4, 8, 9), (1, 4, 8, 8)]
    assert len(rows) == 3
    for batch, own in zip(images, latents, strict=True):
        assert own.keys() == {"samples"}
        assert own["samples"].dtype == torch.float32
        again = decoded(tiny, own["samples"])
        assert (again - batch).abs().max() < 1 / 255


def test_latents_come_out_of_the_store_too(tiny: Model, keeping: Keeping) -> None:
    """Also where some of the images are new, and where they are wanted unrounded."""
    _, _, (first,) = generate(tiny)
    taken = keeping.steps
    _, _, (again,) = generate(tiny)
    assert keeping.steps == taken
    assert torch.equal(again["samples"], first["samples"])
    prompts = (Prompt("red"), Prompt("new"), Prompt("green"))
    (images,), _, (mixed,) = generate(tiny, prompts=prompts, unrounded=True)
    _, _, (later,) = generate(tiny, prompts=prompts, unrounded=True)
    assert torch.equal(mixed["samples"], later["samples"])
    assert torch.equal(mixed["samples"][[0, 2]], first["samples"][[0, 2]])
    assert (decoded(tiny, mixed["samples"]) - images).abs().max() < 1e-5


def encoded(model: Model, image: torch.Tensor) -> torch.Tensor:
    """(H, W, 3) in 0..1 as ComfyUI's VAE Encode gives its latents, (1, 4, h, w)."""
    with torch.no_grad():
        found = model.vae.encode(2 * image.movedim(-1, 0)[None] - 1).latent_dist.mode()
    return torch.as_tensor(found)


@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_latents_are_a_start_as_diffusers_takes_them(
    tiny: Model, components: dict[str, Any], rounding: float, sampler: str
) -> None:
    """Its pipeline wants them scaled, where ComfyUI hands them on as they are."""
    from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline

    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 5
    config = components["scheduler"].config
    kinds = {
        "euler": EulerDiscreteScheduler.from_config(config),
        "ddim": DDIMScheduler.from_config(config, clip_sample=False, set_alpha_to_one=False),
    }
    pipeline = StableDiffusionXLImg2ImgPipeline(**components | {"scheduler": kinds[sampler]})
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a cat",
        image=start * 0.13025,
        strength=0.7,
        num_inference_steps=5,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).images[0]
    request = ImageRequest(
        prompt="a cat",
        seed=3,
        num_inference_steps=5,
        guidance_scale=5.0,
        scheduler=sampler,
        strength=0.7,
        latents=start,
    )
    (image,) = Engine(tiny).generate([request])
    assert (image.decoded - expected.movedim(0, -1)).abs().max() < rounding


def test_alone_and_in_company_a_start_from_latents_is_the_same(tiny: Model) -> None:
    starts = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 5
    many, rows, (last,) = generate(tiny, latents={"samples": starts}, combine="zip", steps=4)
    pixels = torch.cat(many)
    for place in (2, 0):
        prompt = (Prompt("red"), Prompt("blue", "dim"), Prompt("green"))[place]
        changes = {"prompts": (prompt,), "seeds": (place + 1,), "steps": 4}
        (one,), (row,), (own,) = generate(tiny, latents={"samples": starts[[place]]}, **changes)
        assert torch.equal(one[0], pixels[place])
        assert torch.equal(own["samples"][0], last["samples"][place])
        assert row.identity == rows[place].identity
    said = rows[2].to_plain()["request"]
    assert said["latents"].keys() == {"name", "sha256"}
    assert (said["latents"]["name"], said["strength"]) == ("latents 3", 0.5)
    assert len({row.identity for row in rows}) == 3


@pytest.mark.parametrize("strength", [0.01, 0.5, 1.0])
def test_empty_latents_say_the_size_alone(tiny: Model, strength: float) -> None:
    empty = {"samples": torch.zeros(1, 4, 8, 10), "downscale_ratio_spacial": 8}
    images, rows, _ = generate(tiny, latents=empty, strength=strength)
    expected, same, _ = generate(tiny, width=80, height=64)
    assert torch.equal(images[0], expected[0])
    assert [row.to_json() for row in rows] == [row.to_json() for row in same]


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        ({"samples": torch.ones(1, 16, 8, 8)}, r"4 channels.*latents 1 of shape \(16, 8, 8\)"),
        ({"samples": torch.ones(1, 4, 1, 8, 8)}, r"a batch of latents of SDXL"),
        ({}, "a batch of latents of SDXL"),
        (None, "a batch of latents of SDXL.*NoneType"),
        ({"samples": torch.full((2, 4, 8, 8), torch.nan)}, "finite numbers in latents 1"),
        (
            {"samples": torch.ones(1, 4, 8, 8), "noise_mask": torch.ones(1, 64, 64)},
            "noise_mask.*Set Latent Noise Mask",
        ),
        ({"samples": torch.ones(2, 4, 8, 8)}, "2 latents"),
    ],
)
def test_what_is_no_start_is_refused(tiny: Model, latents: Any, said: str) -> None:
    with pytest.raises(BatchSDXLError, match=said):
        generate(tiny, latents=latents)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (torch.ones(4, 8, 8, dtype=torch.int32), "floating point numbers.*int32"),
        (torch.ones(4, 8, 8, dtype=torch.complex64), "floating point numbers.*complex64"),
        (np.full((4, 8, 8), 1e300), "finite numbers"),
    ],
)
def test_numbers_that_fp32_has_not_are_refused(numbers: Any, said: str) -> None:
    with pytest.raises(InvalidImage, match=said):
        ImageRequest(prompt="a", seed=1, latents=numbers)


def test_one_thing_is_started_from(tiny: Model) -> None:
    node = NODE_CLASS_MAPPINGS["BatchSDXL_BatchGenerate"]
    typed = {"width": [0], "height": [0], "sampler_name": ["euler"], "scheduler": ["normal"]}
    answer = node.VALIDATE_INPUTS(**typed, images=[None], latents=[None])
    assert "Take one of them out" in str(answer)
    assert node.VALIDATE_INPUTS(**typed, latents=[None]) is True
    with pytest.raises(InvalidRequest, match="Take one of them out"):
        generate(
            tiny, images=torch.zeros(1, 64, 64, 3), latents={"samples": torch.ones(1, 4, 8, 8)}
        )
    with pytest.raises(InvalidRequest, match="one thing to start from"):
        ImageRequest(prompt="a", seed=1, image=torch.zeros(64, 64, 3), latents=torch.ones(4, 8, 8))
    with pytest.raises(InvalidRequest, match="width is the 128 pixels asked for"):
        generate(tiny, latents={"samples": torch.zeros(1, 4, 8, 8)}, width=128)


def test_a_second_pass_goes_on_from_the_first(tiny: Model) -> None:
    """What comes out goes in: strength 0.25 of 4 steps leaves most of it as it was."""
    images, _, latents = generate(tiny, steps=4)
    again, _, _ = generate(tiny, latents=latents[0], steps=4, strength=0.25)
    fresh, _, _ = generate(tiny, steps=4, seeds=(7, 8, 9))
    near, far = ((other[0] - images[0]).abs().mean() for other in (again, fresh))
    assert near < far


def test_verify_says_in_words_that_latents_are_in_no_file(
    tiny: Model, tiny_folder: Path, tmp_path: Path
) -> None:
    start = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)) * 5
    request = ImageRequest(prompt="a", seed=1, latents=start, num_inference_steps=2)
    (image,) = Engine(tiny).generate([request])
    file = save(image, tmp_path / "a.png")
    with pytest.raises(InvalidImage, match="no more than their SHA-256"):
        verify(file)
    again = reproduce(file, latents=start, model=str(tiny_folder))
    assert again.record.identity == image.record.identity
