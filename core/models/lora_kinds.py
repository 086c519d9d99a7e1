"""The ways in which LoRA files change a weight, one function each.

A file has named parts for each weight; which parts there are tells the kind. All is computed in
fp32, and comes to the weights that ComfyUI 0.28 computes (`tests/comfyui/test_loras.py` measures
it), where that differs from the papers too. To add a kind, add a line to `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

#: Name of a part -> its values.
Parts = Mapping[str, torch.Tensor]

#: The parts of plain LoRAs, whose names in files are many; other parts are called as in files.
UP, DOWN, MID = "up", "down", "mid"


class LoraKind(NamedTuple):
    """A way to change a weight.

    Attributes:
        name: of the method.
        parts: sets of parts of which one must be there whole.
        more: parts that may be there beside.
        change: from parts, alpha (None where nothing is said), the weight (O, ...) and the LoRA's
            weight, all fp32, what to add to the weight. Raises a RuntimeError where shapes do not
            fit.
    """

    name: str
    parts: tuple[frozenset[str], ...]
    more: frozenset[str]
    change: Callable[[Parts, float | None, torch.Tensor, float], torch.Tensor]


def kind_of(parts: set[str]) -> tuple[LoraKind, set[str]] | None:
    """The kind that parts are of, and those that it has no use for; None if they are of none."""
    for kind in KINDS:
        for needed in kind.parts:
            if needed <= parts:
                return kind, parts - needed - kind.more
    return None


def _lora(parts: Parts, weight: torch.Tensor) -> tuple[torch.Tensor, int | None]:
    """LoRA (arXiv:2106.09685, 4.1): up @ down; for convolutions as LyCORIS does, LoCon."""
    up, down = parts[UP].flatten(1), parts[DOWN]
    rank = len(down)
    if MID in parts:
        return _tucker(parts[MID], down.flatten(1), up.T), rank
    return up @ down.flatten(1), rank


def _loha(parts: Parts, weight: torch.Tensor) -> tuple[torch.Tensor, int | None]:
    """LoHa (arXiv:2108.06098, prop. 1 and 2): the product, number by number, of two such."""
    one, other = (
        _tucker(parts[core], parts[inner], parts[outer])
        if core in parts
        else parts[outer] @ parts[inner]
        for outer, inner, core in (
            ("hada_w1_a", "hada_w1_b", "hada_t1"),
            ("hada_w2_a", "hada_w2_b", "hada_t2"),
        )
    )
    return one * other, len(parts["hada_w1_b"])


def _lokr(parts: Parts, weight: torch.Tensor) -> tuple[torch.Tensor, int | None]:
    """LoKr (arXiv:2309.14859, 3.1): the Kronecker product of two factors, whole or of low rank."""
    rank = None
    if "lokr_w1" in parts:
        first = parts["lokr_w1"]
    else:
        first, rank = parts["lokr_w1_a"] @ parts["lokr_w1_b"], len(parts["lokr_w1_b"])
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    else:
        outer, inner = parts["lokr_w2_a"], parts["lokr_w2_b"]
        core = parts.get("lokr_t2")
        second = outer @ inner if core is None else _tucker(core, inner, outer)
        rank = len(inner)
    kernel = [1] * (second.ndim - first.ndim)
    return torch.kron(first.reshape(*first.shape, *kernel), second.contiguous()), rank


def _glora(parts: Parts, weight: torch.Tensor) -> tuple[torch.Tensor, int | None]:
    """GLoRA (arXiv:2306.07967, eq. 10, without the parts for biases): W A + B, both of low rank.

    LyCORIS once wrote the two factors of A and of B in the other order.
    """
    a1, a2, b1, b2 = (parts[name] for name in ("a1.weight", "a2.weight", "b1.weight", "b2.weight"))
    old = a1.shape[0] == a2.shape[1] == b1.shape[0] == b2.shape[1]
    new = a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]
    if old and (not new or a2.shape[0] == weight.shape[0] == weight.shape[1]):
        a1, a2, b1, b2, rank = a2, a1, b2, b1, len(a1)
        product = weight.flatten(1) @ a1.flatten(1) @ a2.flatten(1)
    else:
        rank = len(a2)
        # Of a convolution, A mixes the input channels of each place of the kernel.
        columns = weight.flatten(2).movedim(1, -1) if weight.ndim > 2 else weight
        product = columns @ a1.flatten(1) @ a2.flatten(1)
        product = product.movedim(-1, 1) if weight.ndim > 2 else product
    added = b1.flatten(1) @ b2.flatten(1)
    return product.reshape(weight.shape) + added.reshape(weight.shape), rank


def _tucker(core: torch.Tensor, inner: torch.Tensor, outer: torch.Tensor) -> torch.Tensor:
    """A convolution of low rank (arXiv:2108.06098, prop. 2).

    Args:
        core: (R, R, kernel).
        inner: (R, I).
        outer: (R, O).

    Returns:
        (O, I, kernel).
    """
    return torch.einsum("abkl,bi,ao->oikl", core, inner, outer)


def _scaled(
    difference: Callable[[Parts, torch.Tensor], tuple[torch.Tensor, int | None]],
) -> Callable[[Parts, float | None, torch.Tensor, float], torch.Tensor]:
    """Of a difference and its rank, what is added: by alpha / rank, and DoRA if it has a scale."""

    def change(
        parts: Parts, alpha: float | None, weight: torch.Tensor, strength: float
    ) -> torch.Tensor:
        found, rank = difference(parts, weight)
        if found.shape[0] != weight.shape[0]:
            raise RuntimeError(f"{tuple(found.shape)} for {tuple(weight.shape)}")
        found = found.reshape(weight.shape)
        scale = 1.0 if alpha is None or rank is None else alpha / rank
        if "dora_scale" in parts:
            return strength * (_decomposed(parts["dora_scale"], weight, scale * found) - weight)
        return strength * scale * found

    return change


def _decomposed(
    magnitude: torch.Tensor, weight: torch.Tensor, difference: torch.Tensor
) -> torch.Tensor:
    """DoRA (arXiv:2402.09353, eq. 5): a changed direction with a magnitude of its own.

    A magnitude for each input is over the changed weight's norm. Where there is one for each output
    ComfyUI takes the norm of the weight as it was, and so do we.
    """
    changed = weight + difference
    if len(magnitude) == len(weight):
        norm = weight.flatten(1).norm(dim=1)
        norm = norm.reshape(-1, *[1] * (weight.ndim - 1))
    else:
        norm = changed.transpose(0, 1).flatten(1).norm(dim=1)
        norm = norm.reshape(1, -1, *[1] * (weight.ndim - 2))
    turned: torch.Tensor = changed * (magnitude / (norm + torch.finfo(weight.dtype).eps))
    return turned


def _oft(parts: Parts, alpha: float | None, weight: torch.Tensor, strength: float) -> torch.Tensor:
    """OFT (arXiv:2306.07280, 3.4): blocks of outputs, each turned by a matrix of its own.

    A strength counts twice, as in ComfyUI: 0.5 is a quarter of the way.
    """
    turn = _rotations(parts["oft_blocks"], alpha)
    count, size, _ = turn.shape
    rows = weight.reshape(count, size, -1)
    # The matrices turn rows the other way round than BOFT's.
    turned = turn.transpose(1, 2) @ rows
    return (strength * strength * (turned - rows)).reshape(weight.shape)


def _boft(parts: Parts, alpha: float | None, weight: torch.Tensor, strength: float) -> torch.Tensor:
    """BOFT (arXiv:2311.06243, 4): several such turns, each of outputs farther apart.

    The strength counts in each turn and once for all, as in ComfyUI.
    """
    turns = _rotations(parts["boft_blocks"], alpha)
    size = turns.shape[-1]
    same = torch.eye(size, device=weight.device)
    rows = weight.flatten(1)
    for level, turn in enumerate(turns):
        apart = 2**level * size // 2
        order = torch.arange(len(rows), device=weight.device)
        order = order.reshape(-1, 2, apart).transpose(1, 2).flatten()
        blended = strength * turn + (1 - strength) * same
        turned = (blended @ rows[order].reshape(len(turn), size, -1)).flatten(0, 1)
        rows = torch.empty_like(turned).index_copy(0, order, turned)
    changed = rows.reshape(weight.shape)
    if "rescale" in parts:
        changed = changed * parts["rescale"]
    return strength * (changed - weight)


def _rotations(blocks: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """Cayley's transform of the skew parts of (..., N, N); alpha bounds their norm."""
    skew = blocks - blocks.transpose(-1, -2)
    if alpha:
        skew = skew * (alpha / (skew.norm() + 1e-8)).clamp(max=1)
    same = torch.eye(blocks.shape[-1], device=blocks.device)
    rotations: torch.Tensor = (same + skew) @ torch.linalg.inv(same - skew)
    return rotations


def _difference(
    parts: Parts, alpha: float | None, weight: torch.Tensor, strength: float
) -> torch.Tensor:
    """The difference itself."""
    return strength * _of_shape(parts["diff"], weight)


def _replacement(
    parts: Parts, alpha: float | None, weight: torch.Tensor, strength: float
) -> torch.Tensor:
    """The weight itself, of which there is no half."""
    return _of_shape(parts["set_weight"], weight) - weight


def _of_shape(part: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if part.shape != weight.shape:
        raise RuntimeError(f"{tuple(part.shape)} for {tuple(weight.shape)}")
    return part


def _kind(
    name: str,
    parts: str | tuple[str, ...],
    more: str,
    change: Callable[[Parts, float | None, torch.Tensor, float], torch.Tensor],
) -> LoraKind:
    alternatives = (parts,) if isinstance(parts, str) else parts
    needed = tuple(frozenset(words.split()) for words in alternatives)
    return LoraKind(name, needed, frozenset(more.split()), change)


_SCALE = "alpha dora_scale"

#: In the order in which they are looked for: whole weights are taken before factors of them.
KINDS = (
    _kind("a whole weight", "set_weight", "", _replacement),
    _kind("a full difference", "diff", "alpha", _difference),
    _kind("LoRA", f"{UP} {DOWN}", f"{MID} {_SCALE}", _scaled(_lora)),
    _kind(
        "LoHa",
        "hada_w1_a hada_w1_b hada_w2_a hada_w2_b",
        f"hada_t1 hada_t2 {_SCALE}",
        _scaled(_loha),
    ),
    _kind(
        "LoKr",
        (
            "lokr_w1 lokr_w2",
            "lokr_w1 lokr_w2_a lokr_w2_b",
            "lokr_w1_a lokr_w1_b lokr_w2",
            "lokr_w1_a lokr_w1_b lokr_w2_a lokr_w2_b",
        ),
        f"lokr_t2 {_SCALE}",
        _scaled(_lokr),
    ),
    _kind("GLoRA", "a1.weight a2.weight b1.weight b2.weight", _SCALE, _scaled(_glora)),
    _kind("OFT", "oft_blocks", "alpha", _oft),
    _kind("BOFT", "boft_blocks", "alpha rescale", _boft),
)

#: All parts that a file may have, but for those of plain LoRAs.
PARTS = frozenset(part for kind in KINDS for part in frozenset().union(*kind.parts, kind.more)) - {
    UP,
    DOWN,
    MID,
}
