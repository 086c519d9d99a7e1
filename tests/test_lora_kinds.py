"""Each kind of LoRA against its paper's formula, number by number, in twice the precision."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_sdxl.core import Model
from batch_sdxl.core.errors import UnsupportedModel
from batch_sdxl.core.models.lora import apply_lora
from batch_sdxl.core.models.lora_file import read_lora
from numpy.typing import NDArray
from safetensors.torch import save_file

Numbers = NDArray[np.float64]

MATRIX = "down_blocks.1.attentions.0.proj_in"
CONVOLUTION = "down_blocks.0.resnets.1.conv1"
NAMES = {path: f"lora_unet_{path.replace('.', '_')}" for path in (MATRIX, CONVOLUTION)}
STRENGTH = 0.6

_draw = np.random.default_rng(0)


def drawn(*shape: int) -> Numbers:
    return _draw.standard_normal(shape).astype(np.float32).astype(np.float64) / 3


def changed(
    model: Model, folder: Path, path: str, parts: dict[str, Numbers], strength: float = STRENGTH
) -> Numbers:
    """The weight after a file with these parts for it is applied."""
    tensors = {f"{NAMES[path]}.{name}": torch.tensor(part).float() for name, part in parts.items()}
    save_file(tensors, folder / "lora.safetensors")
    after = apply_lora(model, folder / "lora.safetensors", strength)
    numbers: Numbers = after.unet.get_submodule(path).weight.double().numpy()
    return numbers


def weight(model: Model, path: str) -> Numbers:
    found: Numbers = model.unet.get_submodule(path).weight.double().numpy()
    return found


def check(made: Numbers, expected: Numbers) -> None:
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def low_rank(core: Numbers, inner: Numbers, outer: Numbers) -> Numbers:
    """Sum over both ranks, (R, R, k, k) with (R, I) and (R, O)."""
    out = np.zeros((outer.shape[1], inner.shape[1], *core.shape[2:]))
    for a in range(core.shape[0]):
        for b in range(core.shape[1]):
            out += np.multiply.outer(np.outer(outer[a], inner[b]), core[a, b])
    return out


def rotation(block: Numbers) -> Numbers:
    skew, same = block - block.T, np.eye(len(block))
    turned: Numbers = (same + skew) @ np.linalg.inv(same - skew)
    return turned


def test_locon_with_a_middle(tiny: Model, tmp_path: Path) -> None:
    before = weight(tiny, CONVOLUTION)
    out, ins = before.shape[:2]
    up, mid, down = drawn(out, 4, 1, 1), drawn(4, 4, 3, 3), drawn(4, ins, 1, 1)
    parts = {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down}
    parts["alpha"] = np.array(2.0)
    difference = low_rank(mid, down[:, :, 0, 0], up[:, :, 0, 0].T)
    made = changed(tiny, tmp_path, CONVOLUTION, parts)
    check(made, before + STRENGTH * 2 / 4 * difference)


@pytest.mark.parametrize("alpha", [None, 3.0])
def test_loha(tiny: Model, tmp_path: Path, alpha: float | None) -> None:
    """arXiv:2108.06098, proposition 1."""
    before = weight(tiny, MATRIX)
    out, ins = before.shape
    a1, b1, a2, b2 = drawn(out, 4), drawn(4, ins), drawn(out, 4), drawn(4, ins)
    parts = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2}
    if alpha is not None:
        parts["alpha"] = np.array(alpha)
    difference = (a1 @ b1) * (a2 @ b2)
    scale = 1.0 if alpha is None else alpha / 4
    check(changed(tiny, tmp_path, MATRIX, parts), before + STRENGTH * scale * difference)


def test_loha_of_a_convolution(tiny: Model, tmp_path: Path) -> None:
    """arXiv:2108.06098, proposition 2."""
    before = weight(tiny, CONVOLUTION)
    out, ins = before.shape[:2]
    parts: dict[str, Numbers] = {}
    halves = []
    for n in (1, 2):
        core, inner, outer = drawn(4, 4, 3, 3), drawn(4, ins), drawn(4, out)
        parts |= {f"hada_t{n}": core, f"hada_w{n}_b": inner, f"hada_w{n}_a": outer}
        halves.append(low_rank(core, inner, outer))
    check(changed(tiny, tmp_path, CONVOLUTION, parts), before + STRENGTH * halves[0] * halves[1])


@pytest.mark.parametrize("first", ["whole", "low"])
@pytest.mark.parametrize("second", ["whole", "low", "core"])
def test_lokr(tiny: Model, tmp_path: Path, first: str, second: str) -> None:
    """arXiv:2309.14859, 3.1: alpha counts where a factor is of low rank."""
    path = CONVOLUTION if second == "core" else MATRIX
    before = weight(tiny, path)
    out, ins = before.shape[0] // 4, before.shape[1] // 4
    parts = {"alpha": np.array(2.0)}
    rank = None
    if first == "whole":
        one = parts["lokr_w1"] = drawn(4, 4)
    else:
        parts["lokr_w1_a"], parts["lokr_w1_b"], rank = drawn(4, 2), drawn(2, 4), 2
        one = parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if second == "whole":
        other = parts["lokr_w2"] = drawn(out, ins)
    elif second == "low":
        parts["lokr_w2_a"], parts["lokr_w2_b"], rank = drawn(out, 3), drawn(3, ins), 3
        other = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
    else:
        parts["lokr_t2"] = drawn(3, 3, 3, 3)
        parts["lokr_w2_a"], parts["lokr_w2_b"], rank = drawn(3, out), drawn(3, ins), 3
        other = low_rank(parts["lokr_t2"], parts["lokr_w2_b"], parts["lokr_w2_a"])
    difference = np.zeros(before.shape)
    for (i, j), factor in np.ndenumerate(one):
        difference[i * out : (i + 1) * out, j * ins : (j + 1) * ins] = factor * other
    scale = 1.0 if rank is None else 2 / rank
    check(changed(tiny, tmp_path, path, parts), before + STRENGTH * scale * difference)


def test_glora(tiny: Model, tmp_path: Path) -> None:
    """arXiv:2306.07967, eq. 10: W + W A + B."""
    before = weight(tiny, MATRIX)
    out, ins = before.shape
    a1, a2, b1, b2 = drawn(ins, 4), drawn(4, ins), drawn(out, 4), drawn(4, ins)
    expected = before + STRENGTH * (before @ a1 @ a2 + b1 @ b2)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2}
    check(changed(tiny, tmp_path, MATRIX, parts), expected)
    # The other order of the factors, as older files have it.
    parts = {"a1.weight": a2, "a2.weight": a1, "b1.weight": b2, "b2.weight": b1}
    check(changed(tiny, tmp_path, MATRIX, parts), expected)


def test_dora(tiny: Model, tmp_path: Path) -> None:
    """arXiv:2402.09353, eq. 5: a magnitude for each input, over the norm of the changed column."""
    before = weight(tiny, MATRIX)
    out, ins = before.shape
    up, down, magnitude = drawn(out, 4), drawn(4, ins), np.abs(drawn(1, ins)) + 1
    parts = {"lora_up.weight": up, "lora_down.weight": down, "dora_scale": magnitude}
    direction = before + up @ down
    whole = magnitude * direction / np.sqrt((direction**2).sum(0, keepdims=True))
    check(changed(tiny, tmp_path, MATRIX, parts, 1.0), whole)
    check(changed(tiny, tmp_path, MATRIX, parts), before + STRENGTH * (whole - before))


def test_dora_of_outputs_is_over_the_norm_of_the_weight_as_it_was(
    tiny: Model, tmp_path: Path
) -> None:
    before = weight(tiny, CONVOLUTION)
    magnitude = np.abs(drawn(len(before), 1, 1, 1)) + 1
    up, down = drawn(len(before), 4, 1, 1), drawn(4, *before.shape[1:])
    parts = {"lora_up.weight": up, "lora_down.weight": down, "dora_scale": magnitude}
    direction = before + np.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    norm = np.sqrt((before**2).sum((1, 2, 3), keepdims=True))
    check(changed(tiny, tmp_path, CONVOLUTION, parts, 1.0), magnitude * direction / norm)


@pytest.mark.parametrize("path", [MATRIX, CONVOLUTION])
def test_oft(tiny: Model, tmp_path: Path, path: str) -> None:
    """arXiv:2306.07280, 3.4: blocks of outputs are turned, and keep their lengths."""
    before = weight(tiny, path)
    blocks = drawn(len(before) // 8, 8, 8)
    made = changed(tiny, tmp_path, path, {"oft_blocks": blocks}, 1.0)
    rows = before.reshape(len(before), -1)
    turned = np.concatenate([rotation(b).T @ rows[8 * n : 8 * n + 8] for n, b in enumerate(blocks)])
    check(made, turned.reshape(before.shape))
    np.testing.assert_allclose((made**2).sum(), (before**2).sum(), rtol=1e-5)
    half = changed(tiny, tmp_path, path, {"oft_blocks": blocks}, 0.5)
    check(half, 0.75 * before + 0.25 * made)


def test_oft_within_bounds(tiny: Model, tmp_path: Path) -> None:
    before = weight(tiny, MATRIX)
    blocks = drawn(len(before) // 8, 8, 8)
    skew = blocks - blocks.transpose(0, 2, 1)
    bounded = blocks * 0.5 / np.sqrt((skew**2).sum())
    parts = {"oft_blocks": blocks, "alpha": np.array(0.5)}
    made = changed(tiny, tmp_path, MATRIX, parts, 1.0)
    check(made, changed(tiny, tmp_path, MATRIX, {"oft_blocks": bounded}, 1.0))


def test_boft(tiny: Model, tmp_path: Path) -> None:
    """arXiv:2311.06243, 4: turns of level k mix rows that are 2**k halves of a block apart."""
    before = weight(tiny, MATRIX)
    size, levels = 4, 3
    blocks = drawn(levels, len(before) // size, size, size)
    rescale = 1 + drawn(len(before), 1)
    rows = before.copy()
    for level in range(levels):
        apart = 2**level * size // 2
        whole = np.zeros((len(rows), len(rows)))
        # Pairs of rows `apart` from each other, in their order, fill the blocks.
        order = [
            start + place + apart * side
            for start in range(0, len(rows), 2 * apart)
            for place in range(apart)
            for side in (0, 1)
        ]
        for n, block in enumerate(blocks[level]):
            places = order[n * size : (n + 1) * size]
            whole[np.ix_(places, places)] = rotation(block)
        rows = whole @ rows
    parts = {"oft_blocks": blocks, "rescale": rescale}
    check(changed(tiny, tmp_path, MATRIX, parts, 1.0), rows * rescale)


def test_whole_weights_and_differences_of_weights_and_biases(tiny: Model, tmp_path: Path) -> None:
    before = tiny.unet.get_submodule(MATRIX)
    own, bias = before.weight.double().numpy(), before.bias.double().numpy()
    difference, of_bias, new = drawn(*own.shape), drawn(len(own)), drawn(*own.shape)
    parts = {"diff": difference, "diff_b": of_bias}
    check(changed(tiny, tmp_path, MATRIX, parts), own + STRENGTH * difference)
    after = apply_lora(tiny, tmp_path / "lora.safetensors", STRENGTH).unet.get_submodule(MATRIX)
    check(after.bias.double().numpy(), bias + STRENGTH * of_bias)
    check(changed(tiny, tmp_path, MATRIX, {"set_weight": new}), new)


def test_changes_that_depend_on_the_weight_are_to_the_untouched_one(
    tiny: Model, tmp_path: Path
) -> None:
    """So that their order makes no difference."""
    before = weight(tiny, MATRIX)
    files = []
    for name in "ab":
        blocks = drawn(len(before) // 8, 8, 8)
        tensors = {f"{NAMES[MATRIX]}.oft_blocks": torch.tensor(blocks).float()}
        files.append(tmp_path / f"{name}.safetensors")
        save_file(tensors, files[-1])
    one, other, both, turned = (
        weight(model, MATRIX)
        for model in (
            apply_lora(tiny, files[0]),
            apply_lora(tiny, files[1]),
            apply_lora(apply_lora(tiny, files[0]), files[1]),
            apply_lora(apply_lora(tiny, files[1]), files[0]),
        )
    )
    np.testing.assert_array_equal(both, turned)
    check(both, one + other - before)


def test_what_does_not_fit_is_named_or_left_out_by_choice(tiny: Model, tmp_path: Path) -> None:
    good = {f"{NAMES[MATRIX]}.diff": torch.ones(tiny.unet.get_submodule(MATRIX).weight.shape)}
    wrong = {
        "lora_unet_nowhere.diff": torch.ones(2),
        f"{NAMES[CONVOLUTION]}.diff": torch.ones(3, 3),
        f"{NAMES[MATRIX]}.of_tomorrow": torch.ones(1),
    }
    for name, content in {"good": good, "mixed": good | wrong, "wrong": wrong}.items():
        save_file(content, tmp_path / f"{name}.safetensors")
    with pytest.raises(UnsupportedModel, match=r"of_tomorrow.* \(and 2 more\).*skip_unknown"):
        apply_lora(tiny, tmp_path / "mixed.safetensors")
    left = apply_lora(tiny, tmp_path / "mixed.safetensors", skip_unknown=True)
    expected = apply_lora(tiny, tmp_path / "good.safetensors")
    for path in (MATRIX, CONVOLUTION):
        np.testing.assert_array_equal(weight(left, path), weight(expected, path))
    with pytest.raises(UnsupportedModel, match="of_tomorrow"):
        apply_lora(tiny, tmp_path / "wrong.safetensors", skip_unknown=True)


def test_the_first_encoders_projection_is_used_by_no_one(tiny: Model, tmp_path: Path) -> None:
    tensors = {f"lora_te1_text_projection.{part}": torch.ones(4, 4) for part in ("diff", "alpha")}
    tensors["lora_te2_text_projection.diff"] = torch.ones(32, 32)
    save_file(tensors, tmp_path / "lora.safetensors")
    first, second = tiny.text_encoders
    components = {"unet": tiny.unet, "text_encoder": first, "text_encoder_2": second}
    changes = read_lora(tmp_path / "lora.safetensors", components)
    assert list(changes) == ["text_encoder_2"]
    assert list(changes["text_encoder_2"]) == ["text_projection.weight"]
    assert math.isclose(changes["text_encoder_2"]["text_projection.weight"].parts["diff"].mean(), 1)
