"""Prompts to Conditioning and Seeds to Noise, given what ComfyUI would give them."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from batch_sdxl.core.errors import InvalidPrompts, InvalidRequest, InvalidSeeds, UnsupportedModel
from batch_sdxl.core.prompts.prompt import Prompt, Settings
from batch_sdxl.core.prompts.wildcards import Wildcards
from batch_sdxl.core.seeds import make_generator
from batch_sdxl.core.text.stack import stack_embeddings
from batch_sdxl.nodes.prompts_to_conditioning import PromptsToConditioning
from batch_sdxl.nodes.seeds_to_noise import SeedsToNoise

# Prompts to Conditioning


class Clip:
    """Answers as ComfyUI's CLIP of SDXL does; one 77-token chunk for every three words."""

    def __init__(self, width: int = 2048) -> None:
        self.width = width
        self.encoded: list[str] = []

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def encode_from_tokens_scheduled(
        self, tokens: list[str], add_dict: dict[str, Any]
    ) -> list[list[Any]]:
        self.encoded.append(" ".join(tokens))
        draw = torch.Generator().manual_seed(sum(map(ord, " ".join(tokens))))
        chunks = max(1, -(-len(tokens) // 3))
        embedding = torch.randn(1, 77 * chunks, self.width, generator=draw)
        return [[embedding, {"pooled_output": torch.randn(1, 1280, generator=draw), **add_dict}]]


def prompts(*texts: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(text, "dim") for text in texts)


def encode(*arguments: Any, **named: Any) -> Any:
    inputs = dict(zip(("clip", "prompts"), arguments, strict=True))
    return PromptsToConditioning().run(**{"width": 1024, "height": 1024, **inputs, **named})


def test_each_image_has_its_own_prompt() -> None:
    clip = Clip()
    positive, negative, seeds, count, rows, latent = encode(clip, prompts("red", "blue", "red"))
    assert (seeds, count) == ((), 3)
    assert [row.prompt for row in rows] == ["red", "blue", "red"]
    assert latent["samples"].shape == (3, 4, 128, 128)
    assert clip.encoded == ["red", "dim", "blue"]  # each distinct one once
    ((embeddings, more),) = positive
    ((alone, alone_more),) = encode(Clip(), prompts("blue"))[0]
    assert embeddings.shape == (3, 77, 2048)
    assert torch.equal(embeddings[1:2], alone)
    assert torch.equal(more["pooled_output"][1:2], alone_more["pooled_output"])
    assert torch.equal(embeddings[0], embeddings[2])
    assert negative[0][0].shape == (3, 77, 2048)


def test_sizes_go_with_the_prompts() -> None:
    positive, negative, *_ = encode(Clip(), prompts("a"), width=832, height=1216, crop_w=8)
    for conditioning in (positive, negative):
        more = {name: value for name, value in conditioning[0][1].items() if name[0] != "p"}
        assert more == {
            "width": 832,
            "height": 1216,
            "crop_w": 8,
            "crop_h": 0,
            "target_width": 832,
            "target_height": 1216,
        }


def test_prompts_of_other_lengths_change_nothing_but_rounding() -> None:
    texts = ("one", "now two pieces of", "and three pieces of text are here")
    (stacked, _), *_ = encode(Clip(), prompts(*texts))[0]
    assert stacked.shape == (3, 77 * 6, 2048)
    query = torch.randn(1, 8, 2048, generator=torch.Generator().manual_seed(0))
    for row, text in zip(stacked, texts, strict=True):
        ((alone, _),) = encode(Clip(), prompts(text))[0]
        attended = [
            torch.nn.functional.scaled_dot_product_attention(query, keys, keys)
            for keys in (alone, row[None])
        ]
        torch.testing.assert_close(*attended, rtol=0, atol=2e-5)


def test_lengths_that_meet_too_late_are_refused() -> None:
    rows = [torch.zeros(1, 77 * chunks, 4) for chunks in (1, 4, 5, 6)]
    assert stack_embeddings(rows).shape == (4, 77 * 60, 4)
    with pytest.raises(InvalidPrompts, match="1, 7, 9 pieces, which meet only at 63"):
        stack_embeddings([torch.zeros(1, 77 * chunks, 4) for chunks in (1, 7, 9)])
    assert stack_embeddings([torch.zeros(1, 77 * 80, 4)] * 2).shape == (2, 77 * 80, 4)


def test_a_schedule_of_the_clip_is_kept() -> None:
    class Scheduled(Clip):
        def encode_from_tokens_scheduled(
            self, tokens: list[str], add_dict: dict[str, Any]
        ) -> list[list[Any]]:
            first, second = (super(Scheduled, self).encode_from_tokens_scheduled for _ in "ab")
            return [
                *first(tokens, add_dict | {"clip_start_percent": 0.0}),
                *second(tokens, add_dict | {"clip_start_percent": 0.5}),
            ]

    positive, *_ = encode(Scheduled(), prompts("a", "b"))
    assert [entry[1]["clip_start_percent"] for entry in positive] == [0.0, 0.5]
    assert [len(entry[0]) for entry in positive] == [2, 2]


def test_prompts_and_seeds_combine() -> None:
    lists = (Clip(), prompts("a", "b"))
    assert encode(*lists, seeds=(7, 8))[2:4] == ((7, 8), 2)
    assert encode(*lists, seeds=(7,))[2:4] == ((7, 7), 2)
    assert encode(*lists, seeds=(7, 8, 9), combine="product")[2:4] == ((7, 8, 9) * 2, 6)
    with pytest.raises(InvalidRequest, match="2 prompts and 3 seeds"):
        encode(*lists, seeds=(7, 8, 9))


def test_seeds_of_rows_are_used_unless_others_are_wired() -> None:
    rows = (Prompt("a", "", Settings({"seed": 3})), Prompt("b", "", Settings({"seed": 5})))
    assert encode(Clip(), rows)[2] == (3, 5)
    assert encode(Clip(), rows, seeds=(1, 2))[2] == (1, 2)
    with pytest.raises(InvalidPrompts, match="1 seed for 2 prompts"):
        encode(Clip(), (rows[0], Prompt("b")))


def test_wildcards_are_drawn_by_the_seeds() -> None:
    clip, drawn = Clip(), Prompt("a {red|blue} circle", "", wildcards=Wildcards())
    encode(clip, (drawn,), seeds=(1, 2, 3, 4))
    texts = {drawn.resolved(seed).prompt for seed in (1, 2, 3, 4)}
    assert set(clip.encoded) == {"", *texts}
    assert len(texts) == 2
    with pytest.raises(InvalidPrompts, match="Wire a Seed List"):
        encode(clip, (drawn,))


def test_what_a_row_says_is_never_dropped() -> None:
    with pytest.raises(InvalidPrompts, match="num_inference_steps in the row of 'a'"):
        encode(Clip(), (Prompt("a", "", Settings({"num_inference_steps": 3})),))


@pytest.mark.parametrize("clip", [None, Clip(768)])
def test_a_clip_that_is_not_of_sdxl_is_refused(clip: Any) -> None:
    with pytest.raises(UnsupportedModel):
        encode(clip, prompts("a"))


# Seeds to Noise


class Sampler:
    """What ComfyUI calls a KSAMPLER."""

    def __init__(self, function: Callable[..., Any], random: bool = False, **options: Any) -> None:
        self.sampler_function = function
        self.extra_options = options
        self.inpaint_options = {"random": random}


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """ComfyUI's module of samplers, with one of each kind, in the form that they have there."""
    module = ModuleType("comfy.k_diffusion.sampling")

    def default_noise_sampler(x: torch.Tensor, seed: int) -> Callable[..., torch.Tensor]:
        generator = make_generator(seed + 1)
        return lambda sigma, following: torch.randn(x.shape, generator=generator)

    def sample_euler(model: Any, x: Any, sigmas: Any, extra_args: Any = None, **_: Any) -> Any:
        assert isinstance(extra_args["seed"], int)
        return x

    def sample_euler_ancestral(
        model: Any, x: Any, sigmas: Any, extra_args: Any = None, noise_sampler: Any = None, **_: Any
    ) -> Any:
        draw = noise_sampler or default_noise_sampler(x, extra_args["seed"])
        return x + draw(1, 0) + draw(0, 0)

    def sample_dpmpp_2m_sde(model: Any, x: Any, sigmas: Any, extra_args: Any = None) -> Any:
        seeds = extra_args["seed"] if isinstance(extra_args["seed"], list) else [extra_args["seed"]]
        return x + torch.tensor(seeds).view(-1, 1, 1, 1)

    def dpm_adaptive_function(model: Any, x: Any, **_: Any) -> Any:
        return x

    parts = (sample_euler, sample_euler_ancestral, sample_dpmpp_2m_sde, dpm_adaptive_function)
    for part in (default_noise_sampler, *parts):
        part.__module__ = module.__name__
        setattr(module, part.__name__, part)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def latent(count: int = 1, **more: Any) -> dict[str, Any]:
    return {"samples": torch.zeros(count, 4, 5, 3), **more}


def model(**rows: int) -> Any:
    """What a sampler function is given: the guider in it holds the conditionings."""
    conds = {
        kind: [{"model_conds": {"c_crossattn": SimpleNamespace(cond=torch.zeros(count, 77, 8))}}]
        for kind, count in rows.items()
    }
    return SimpleNamespace(inner_model=SimpleNamespace(conds=conds), noise=torch.zeros(1, 4, 5, 3))


def sample(seeds: tuple[int, ...], sampler: Any, unet: Any = None, **arguments: Any) -> Any:
    """What SamplerCustomAdvanced does with the node's three outputs."""
    noise, own, batch = SeedsToNoise().run(seeds, sampler, latent())
    given = noise.generate_noise(batch)
    return own.sampler_function(
        unet or model(), given, None, extra_args={"seed": noise.seed, **arguments}
    )


def test_noise_is_of_each_image_s_own_seed(stock: ModuleType) -> None:
    seeds = (7, 2**64 - 1, 7, 0)
    noise, _, batch = SeedsToNoise().run(seeds, Sampler(stock.sample_euler), latent())
    assert batch["samples"].shape == (4, 4, 5, 3)
    drawn = noise.generate_noise(batch)
    assert drawn.dtype == torch.float32
    for row, seed in zip(drawn, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        assert torch.equal(row, torch.randn(1, 4, 5, 3, generator=generator)[0])
    assert torch.equal(drawn, noise.generate_noise(batch))


def test_the_global_generator_is_left_alone(stock: ModuleType) -> None:
    before = torch.get_rng_state()
    sample((1, 2), Sampler(stock.sample_euler_ancestral, random=True), denoise_mask=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["euler", "euler_ancestral", "dpmpp_2m_sde"])
def test_an_image_of_a_batch_is_what_its_seed_makes_alone(stock: ModuleType, name: str) -> None:
    sampler = Sampler(getattr(stock, f"sample_{name}"))
    seeds = (3, 11, 5)
    together = sample(seeds, sampler)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(row, sample((seed,), sampler)[0])


def test_noise_outside_a_mask_is_each_image_s_own(stock: ModuleType) -> None:
    unet = model()
    sample((3, 11), Sampler(stock.sample_euler, random=True), unet, denoise_mask=1)
    alone = torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(12))
    assert torch.equal(unet.noise[1:], alone)


def test_the_given_sampler_and_latent_are_not_changed(stock: ModuleType) -> None:
    sampler, given = Sampler(stock.sample_euler_ancestral, random=True), latent(batch_index=[3])
    _, own, batch = SeedsToNoise().run((1, 2), sampler, given)
    assert sampler.sampler_function is stock.sample_euler_ancestral
    assert sampler.inpaint_options == {"random": True}
    assert given["batch_index"] == [3]
    assert len(given["samples"]) == 1
    assert "batch_index" not in batch
    assert own.sampler_function.__name__ == "sample_euler_ancestral"


def test_a_sampler_that_was_here_before_takes_the_new_seeds(stock: ModuleType) -> None:
    sampler = Sampler(stock.sample_euler_ancestral)
    _, first, _ = SeedsToNoise().run((1, 2), sampler, latent())
    assert torch.equal(sample((3, 4), first), sample((3, 4), sampler))


def refused(sampler: Any) -> str:
    with pytest.raises(InvalidRequest) as error:
        SeedsToNoise().run((1, 2), sampler, latent())
    # Alone there is nothing that it could be wrong about.
    SeedsToNoise().run((1,), sampler, latent())
    return str(error.value)


def test_samplers_that_cannot_be_right_are_refused_with_the_reason(stock: ModuleType) -> None:
    def sample_of_a_pack(model: Any, x: Any, *_: Any, **__: Any) -> Any:
        return x

    assert "error of all images together" in refused(Sampler(stock.dpm_adaptive_function))
    assert "draws noise for all" in refused(Sampler(stock.sample_euler, s_churn=1.0))
    assert "of_a_pack: it is not among" in refused(Sampler(sample_of_a_pack))
    assert "SimpleNamespace: it is not among" in refused(SimpleNamespace())


def test_a_sampler_that_bypasses_the_node_is_told(stock: ModuleType) -> None:
    noise, _, batch = SeedsToNoise().run((1, 2), Sampler(stock.sample_euler), latent())
    with pytest.raises(InvalidRequest, match="Wire the sampler through Seeds to Noise"):
        stock.sample_euler_ancestral(
            model(), noise.generate_noise(batch), None, extra_args={"seed": noise.seed}
        )


def test_one_latent_serves_for_all_seeds_and_others_must_be_as_many(stock: ModuleType) -> None:
    node, sampler = SeedsToNoise(), Sampler(stock.sample_euler)
    three = latent(3, noise_mask=torch.ones(3, 40, 24))
    assert node.run((1, 2, 3), sampler, three)[2] is three
    assert node.run((1, 2), sampler, latent(noise_mask=torch.ones(40, 24)))[2]["noise_mask"].ndim
    with pytest.raises(InvalidRequest, match="2 seeds and 3 images"):
        node.run((1, 2), sampler, three)
    with pytest.raises(InvalidRequest, match="3 masks and 2 seeds"):
        node.run((1, 2), sampler, latent(noise_mask=torch.ones(3, 40, 24)))
    with pytest.raises(InvalidRequest, match="2 seeds and 3 images"):
        node.run((1, 2), sampler, latent())[0].generate_noise(three)
    with pytest.raises(InvalidRequest, match="video"):
        node.run((1, 2), sampler, {"samples": torch.zeros(1, 16, 1, 5, 3)})
    with pytest.raises(InvalidSeeds, match="Wire a Seed List"):
        node.run((), sampler, latent())


def test_prompts_that_comfyui_would_cut_off_or_repeat_are_refused(stock: ModuleType) -> None:
    sampler = Sampler(stock.sample_euler)
    for seeds in ((1,), (1, 2)):
        sample(seeds, sampler, model(positive=len(seeds), negative=1))
        with pytest.raises(InvalidRequest, match=f"3 positive prompts and {len(seeds)} images"):
            sample(seeds, sampler, model(positive=3, negative=1))
