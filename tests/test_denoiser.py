"""A row's bits do not depend on the others, in calls as small as the machine allows."""

import copy
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model, Progress, load_model
from batch_sdxl.core.engine.conditions.condition import Condition
from batch_sdxl.core.engine.conditions.size import SizeCondition
from batch_sdxl.core.engine.conditions.text import TextCondition
from batch_sdxl.core.engine.denoiser import Denoiser, _call
from batch_sdxl.core.engine.rows import Rows
from batch_sdxl.core.models.row_layers import RowLinear, RowSiLU, row_gelu, use_row_layers
from batch_sdxl.core.pinning import pinned
from diffusers.models.attention_processor import AttnProcessor2_0
from torch.nn import functional


@pytest.fixture
def fresh(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The tiny model with a UNet of its own, on a machine that nothing is known about."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return replace(tiny, unet=copy.deepcopy(tiny.unet))


def some_rows(model: Model, count: int, size: tuple[int, int] = (8, 8)) -> Rows:
    draw = torch.Generator().manual_seed(1)
    sample = torch.randn(16, 4, *size, generator=draw)
    text = torch.randn(16, 77, model.unet.config.cross_attention_dim, generator=draw)
    parts = Rows(
        sample,
        torch.linspace(1, 981, 16),
        (
            TextCondition(torch.split(text, 1), torch.randn(16, 32, generator=draw)),
            SizeCondition(torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 16)),
        ),
    )
    return parts.chosen(range(count))


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (12, 20)])
@pytest.mark.parametrize("geometry", [2, 4, 6, 8, 12])
def test_alone_as_in_company(tiny: Model, geometry: int, size: tuple[int, int]) -> None:
    denoise = Denoiser(tiny)
    reference = denoise(some_rows(tiny, geometry, size), Geometry(geometry))
    for count in range(1, geometry):
        rows = denoise(some_rows(tiny, count, size), Geometry(geometry))
        assert torch.equal(rows, reference[:count])


def of_lengths(rows: Rows, *chunks: int) -> Rows:
    """The rows with prompts of so many chunks, one after the other and over again."""
    text, *others = rows.conditions
    assert isinstance(text, TextCondition)
    embeds = tuple(
        one.repeat(1, chunks[place % len(chunks)], 1)
        for place, one in enumerate(text.prompt_embeds)
    )
    return replace(rows, conditions=(replace(text, prompt_embeds=embeds), *others))


@pytest.mark.parametrize("chunks", [(1, 2), (3, 1, 1), (2, 2, 2, 1, 3)])
def test_alone_as_beside_longer_prompts(tiny: Model, chunks: tuple[int, ...]) -> None:
    denoise = Denoiser(tiny)
    for count in (2, 3, 7, 8):
        rows = of_lengths(some_rows(tiny, count), *chunks)
        for place, row in enumerate(denoise(rows, Geometry(8))):
            (alone,) = denoise(rows.chosen([place]), Geometry(8))
            assert torch.equal(alone, row)


def test_keys_and_values_of_a_prompt_are_made_once(fresh: Model) -> None:
    calls: list[int] = []
    engine = Engine(fresh, geometry=Geometry(8))
    request = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=5)
    requests = [replace(request, seed=seed) for seed in range(3)]
    list(engine.generate(requests))  # tries calls out
    to_key = next(module.attn2.to_k for module in fresh.unet.modules() if hasattr(module, "attn2"))
    hook = to_key.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    list(engine.generate(requests))
    hook.remove()
    assert calls == [1, 1], "of the prompt and of the empty one"


def test_where_company_of_other_lengths_matters_each_row_is_taken_alone(
    fresh: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.nn.functional.scaled_dot_product_attention

    def uneven(query: torch.Tensor, key: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        return plain(query, key, *args, **named) + 1e-6 * (len(query) % 2)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", uneven)
    denoise = Denoiser(fresh)
    rows = of_lengths(some_rows(fresh, 4), 2, 1, 1, 1)
    for place, row in enumerate(denoise(rows, Geometry(8))):
        (alone,) = denoise(rows.chosen([place]), Geometry(8))
        assert torch.equal(alone, row)
    assert set(calls_of(fresh, denoise, [2])) == {2}, "those of one length still share"


def test_another_attention_may_come_in_the_midst_of_a_run(fresh: Model) -> None:
    engine = Engine(fresh, geometry=Geometry(8))
    request = ImageRequest(prompt="a red circle", seed=1, num_inference_steps=3)
    requests = [request, replace(request, prompt="a red circle, " * 30)]

    def bits(**listeners: Any) -> list[bytes]:
        images = sorted(engine.generate(requests, **listeners), key=lambda image: image.index)
        return [image.decoded.numpy().tobytes() for image in images]

    expected = bits()
    kind: type = AttnProcessor2_0

    def replace_it(progress: Progress) -> None:
        if progress.steps == 2:
            fresh.unet.set_attn_processor(kind())

    assert bits(on_step=replace_it) == expected
    fresh.unet.set_attn_processor(kind())
    made: list[int] = []
    to_key = next(module.attn2.to_k for module in fresh.unet.modules() if hasattr(module, "attn2"))
    hook = to_key.register_forward_hook(lambda module, args, output: made.append(len(output)))
    assert bits() == expected
    hook.remove()
    assert set(made) == {1}, "of each prompt alone, though the usual attention was given anew"
    kind = type("Another", (AttnProcessor2_0,), {})
    assert len(bits(on_step=replace_it)) == 2


def test_calls_are_as_small_as_the_machine_allows(fresh: Model) -> None:
    denoise = Denoiser(fresh)
    agreeing = sizes_that_agree(denoise, fresh)
    for count in (3, 2, 5):
        calls_of(fresh, denoise, [count])
        smallest = min(size for size in agreeing if size >= count)
        assert calls_of(fresh, denoise, [count]) == [smallest]


def test_half_precision_has_a_call_for_each_row(tiny_folder: Path) -> None:
    # What differs is mostly rounded away there: a trial that agrees says nothing of other rows.
    half = load_model(tiny_folder, device="cpu", dtype="bf16")
    sizes: list[int] = []
    half.unet.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["sample"])), with_kwargs=True
    )
    request = ImageRequest(prompt="x", seed=1, num_inference_steps=2, width=64, height=64)
    assert len(list(Engine(half, geometry=Geometry(8)).generate([request]))) == 1
    assert sizes == [1] * 4


def sizes_that_agree(denoise: Denoiser, model: Model) -> list[int]:
    """Those whose calls have the bits of a call of 8, with 8 itself."""
    denoise(some_rows(model, 8), Geometry(8))  # sees whether rows have to be taken alone
    (trial,) = denoise._trials.values()
    assert not trial.alone
    with pinned(model.device):
        full = _call(denoise._model, some_rows(model, 8))
        return [
            size
            for size in (2, 4, 6, 8)
            if torch.equal(_call(denoise._model, some_rows(model, size)), full[:size])
        ]


def calls_of(model: Model, denoise: Denoiser, counts: list[int], full: int = 8) -> list[int]:
    """The numbers of rows that reach the UNet."""
    sizes: list[int] = []

    def note(_: Any, args: tuple[()], kwargs: dict[str, torch.Tensor]) -> None:
        sizes.append(len(kwargs["sample"]))

    hook = model.unet.register_forward_pre_hook(note, with_kwargs=True)
    try:
        for count in counts:
            denoise(some_rows(model, count), Geometry(full))
    finally:
        hook.remove()
    return sizes


def test_a_second_engine_tries_nothing_out(fresh: Model) -> None:
    def rows_of_a_run() -> int:
        sizes: list[int] = []
        hook = fresh.unet.register_forward_hook(lambda _, args, out: sizes.append(len(out[0])))
        list(Engine(fresh).generate([ImageRequest(prompt="a", seed=1, num_inference_steps=3)]))
        hook.remove()
        return sum(sizes)

    first, second = rows_of_a_run(), rows_of_a_run()
    (small,) = set(calls_of(fresh, Denoiser(fresh), [2])[-1:])
    assert second == 3 * small
    assert first > second or small == 8


@pytest.mark.parametrize("wrong", [{2}, {4}, {2, 4}, {2, 4, 6}])
def test_what_differs_is_filled_up(fresh: Model, wrong: set[int]) -> None:
    reference = Denoiser(fresh)(some_rows(fresh, 8), Geometry(8))
    agreeing = sizes_that_agree(Denoiser(fresh), fresh)

    def spoil(_: Any, args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (output[0] + (1e-6 if len(output[0]) in wrong else 0),)

    hook = fresh.unet.register_forward_hook(spoil)
    denoise = Denoiser(fresh)
    for count in range(1, 9):
        for _ in range(2):
            rows = denoise(some_rows(fresh, count), Geometry(8))
            assert torch.equal(rows, reference[:count])
    (last,) = calls_of(fresh, denoise, [2])
    hook.remove()
    assert last == min(size for size in agreeing if size not in wrong)


@dataclass(frozen=True, eq=False)
class Shift(Condition):
    """One of a kind that the engine does not know: added to the sample."""

    shift: torch.Tensor

    def join(self, call: dict[str, Any]) -> None:
        call["sample"] = call["sample"] + self.shift


def test_a_kind_of_conditions_of_ones_own_takes_part(tiny: Model) -> None:
    rows = some_rows(tiny, 3)
    shift = torch.full((3, 4, 1, 1), 0.5)
    shifted = replace(rows, conditions=(*rows.conditions, Shift(shift)))
    by_hand = replace(rows, sample=rows.sample + shift)
    denoise = Denoiser(tiny)
    assert torch.equal(denoise(shifted, Geometry(4)), denoise(by_hand, Geometry(4)))


def test_all_linear_layers_take_each_row_alone(fresh: Model) -> None:
    Denoiser(fresh)(some_rows(fresh, 2), Geometry(2))
    for name, module in fresh.unet.named_modules():
        if isinstance(module, torch.nn.Linear):
            assert isinstance(module, RowLinear), name
            for shape in ((3, module.in_features), (3, 5, module.in_features)):
                rows = torch.randn(shape)
                together = module(rows)
                close = torch.nn.functional.linear(rows, module.weight, module.bias)
                assert torch.allclose(together, close, atol=1e-5)
                assert torch.equal(together, torch.cat([module(rows[n : n + 1]) for n in range(3)]))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_large_layer_takes_each_row_alone(threads: int, bias: bool) -> None:
    """Layers that are left to another library, since that has them sooner."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer = RowLinear(520, 700, bias=bias)
        draw = torch.Generator().manual_seed(1)
        by_channel = torch.randn(5, 520, 60, generator=draw)
        with torch.inference_mode():
            for rows in (by_channel.transpose(1, 2), by_channel.transpose(1, 2).contiguous()):
                together = layer(rows)
                close = functional.linear(rows, layer.weight, layer.bias)
                assert torch.allclose(together, close, atol=1e-5)
                for count in (1, 2):
                    parts = [layer(part) for part in torch.split(rows, count)]
                    assert torch.equal(together, torch.cat(parts))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_an_activation_takes_no_number_by_itself(threads: int) -> None:
    """At the end of a thread's part torch has other bits for some numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for activation, plain in ((RowSiLU(), functional.silu), (row_gelu, functional.gelu)):
            for shape in ((144, 9, 13), (24, 5, 7), (320, 8, 8), (64, 384), (7,), (400, 128)):
                draw = torch.Generator().manual_seed(1)
                both = torch.randn(6, *shape[:-1], 2 * shape[-1], generator=draw)
                for rows in (both[..., : shape[-1]], both[..., shape[-1] :].contiguous()):
                    together = activation(rows)
                    assert torch.allclose(together, plain(rows), atol=1e-6)
                    for count in (1, 2):
                        parts = [activation(part) for part in torch.split(rows, count)]
                        assert torch.equal(together, torch.cat(parts))
    finally:
        torch.set_num_threads(before)


def test_the_layout_of_latents_makes_no_difference(tiny: Model) -> None:
    """Those of an encoded image have the VAE's, until they are put beside others."""
    rows = some_rows(tiny, 4, (20, 16))
    expected = Denoiser(tiny)(rows, Geometry(4))
    last = rows.sample.contiguous(memory_format=torch.channels_last)
    assert torch.equal(Denoiser(tiny)(replace(rows, sample=last), Geometry(4)), expected)


def test_the_unet_keeps_its_weights_and_has_no_hooks(fresh: Model) -> None:
    before = {name: tensor.clone() for name, tensor in fresh.unet.state_dict().items()}
    Denoiser(fresh)(some_rows(fresh, 2), Geometry(8))
    after = fresh.unet.state_dict()
    assert all(torch.equal(after.pop(name), tensor) for name, tensor in before.items())
    assert not after
    for module in fresh.unet.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_copies_and_other_dtypes_keep_the_layers(fresh: Model) -> None:
    use_row_layers(fresh.unet)
    copied = copy.deepcopy(fresh.unet).to(torch.bfloat16)
    assert isinstance(copied.time_embedding.linear_1, RowLinear)
    assert copied.time_embedding.linear_1.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("count", [2, 8])
def test_where_places_matter_each_row_is_taken_alone(
    fresh: Model, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine on which the last tokens of a matrix are added up in another order."""
    plain = torch.baddbmm

    def uneven(bias: torch.Tensor, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        result = plain(bias, x, weights)
        if len(x) > 1:
            result[-1] += 1e-6
        return result

    monkeypatch.setattr(torch, "baddbmm", uneven)
    denoise = Denoiser(fresh)
    for _ in range(2):
        rows = denoise(some_rows(fresh, count), Geometry(8))
        for place, row in enumerate(rows):
            (alone,) = denoise(some_rows(fresh, count).chosen([place]), Geometry(8))
            assert torch.equal(alone, row)


@pytest.mark.parametrize("threads", [1, 2])
def test_small_calls_agree_with_many_rows(fresh: Model, threads: int) -> None:
    """Pointwise convolutions take another library from 16 rows on, with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        denoise = Denoiser(fresh)
        denoise(some_rows(fresh, 2), Geometry(32))
        assert calls_of(fresh, denoise, [2], 32) == [2]
    finally:
        torch.set_num_threads(before)


def test_trials_are_remembered_beyond_the_model(fresh: Model, tmp_path: Path) -> None:
    assert len(calls_of(fresh, Denoiser(fresh), [2])) > 1
    assert calls_of(fresh, Denoiser(fresh), [2]) == [2]
    (file,) = tmp_path.rglob("trials/*.json")
    none = '[false, {"2": false, "4": false, "6": false, "8": false}]'
    for damaged in ("", "[]", "[true, 7]", '{"a": 1}', '[false, {"x": true}]', none):
        file.write_text(damaged)
        assert len(calls_of(fresh, Denoiser(fresh), [2])) > 1
    torch.set_num_threads(torch.get_num_threads() + 1)
    try:
        assert len(calls_of(fresh, Denoiser(fresh), [2])) > 1, "another number of threads"
    finally:
        torch.set_num_threads(torch.get_num_threads() - 1)


def test_a_broken_row_says_nothing_of_places(fresh: Model) -> None:
    rows = some_rows(fresh, 2)
    broken = replace(rows, sample=torch.full_like(rows.sample, torch.nan))
    Denoiser(fresh)(broken, Geometry(8))
    assert calls_of(fresh, Denoiser(fresh), [2]) == [2]


def test_diffusers_still_takes_the_unet_for_its_own(fresh: Model) -> None:
    Denoiser(fresh)(some_rows(fresh, 2), Geometry(8))
    fresh.unet.set_default_attn_processor()
    fresh.unet.set_attn_processor(AttnProcessor2_0())
    again = pickle.loads(pickle.dumps(fresh.unet))
    assert again.attn_processors.keys() == fresh.unet.attn_processors.keys()
