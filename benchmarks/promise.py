"""What a row's bits depend on: the number of rows of a call, its place among them, the others."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from batch_sdxl.core import Engine, Geometry, ImageRequest, Model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from .calls import Inputs, call_unet, some, unet_inputs
from .clock import Budget


class Verdict(NamedTuple):
    """What was seen of a call.

    Attributes:
        rows: groups of numbers of rows whose calls give a row the same bits.
        repeat: whether the same call gives the same bits twice.
        place: whether a row has the same bits at any place.
        neighbours: whether it has, whatever the other rows are.
        finite: whether all results are numbers; where they are not, the others say little.
    """

    rows: str
    repeat: bool
    place: bool
    neighbours: bool
    finite: bool


def judge(model: Model, size: int, counts: Iterable[int]) -> Verdict:
    """Call the UNet in different ways; the last of `counts` is for all but the rows."""
    *_, most = counts = list(counts)
    inputs = unet_inputs(model, most, size)
    others = unet_inputs(model, most, size, seed=2)

    def call(rows: Inputs) -> torch.Tensor:
        with torch.inference_mode():
            return call_unet(model.unet, rows)

    whole = call(inputs)
    bits = {count: _bits(call(some(inputs, slice(count)))[:2]) for count in counts}
    places = [most // 2, most - 1]
    moved = [call(some(inputs, _rolled(most, place)))[place] for place in places]
    mixed = {name: torch.cat([part[:1], others[name][1:]]) for name, part in inputs.items()}
    return Verdict(
        rows=groups(bits),
        repeat=_bits(call(inputs)) == _bits(whole),
        place=all(_bits(row) == _bits(whole[0]) for row in moved),
        neighbours=_bits(call(mixed)[0]) == _bits(whole[0]),
        finite=bool(whole.isfinite().all()),
    )


def groups(bits: dict[int, bytes]) -> str:
    """Such as `2=4, 8=16`: those joined by = agree."""
    found: dict[bytes, list[str]] = defaultdict(list)
    for count, value in bits.items():
        found[value].append(str(count))
    return ", ".join("=".join(group) for group in found.values())


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).cpu().numpy().tobytes()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )


def _rolled(count: int, by: int) -> torch.Tensor:
    return torch.arange(count).roll(by)


def images(model: Model, size: int, rows: int, steps: int, number: int) -> tuple[int, int]:
    """How many images made in company differ from those made alone, and by how much at most.

    Returns:
        Images that differ in any bit before rounding, and the largest difference of a channel of
        8 bits.
    """
    engine = Engine(model, geometry=Geometry(rows))
    requests = [
        ImageRequest(
            prompt=f"a red circle, {n}",
            seed=n,
            width=size,
            height=size,
            # Not in step with each other, so that they change places.
            num_inference_steps=steps + n % 2,
        )
        for n in range(number)
    ]
    together = {image.index: image for image in engine.generate(requests)}
    differ, largest = 0, 0
    for n in (0, number - 1):
        (alone,) = engine.generate([requests[n]])
        differ += not torch.equal(alone.decoded, together[n].decoded)
        apart = alone.pixels.astype(int) - together[n].pixels.astype(int)
        largest = max(largest, int(abs(apart).max()))
    return differ, largest


class Finding(NamedTuple):
    """An operation with its shapes, and what its bits depend on.

    Attributes:
        operation: torch's name.
        shapes: of its tensors.
        rows: groups of numbers of rows that agree.
        repeat: whether it gives the same bits twice.
        place: whether a row has the same bits at any place.
        neighbours: whether it has, whatever the other rows are.
        largest: difference between calls of few rows and of all, in its output's unit.
        kernels: names of what ran, for fewest and for all rows, where they could be told.
    """

    operation: str
    shapes: str
    rows: str
    repeat: bool
    place: bool
    neighbours: bool
    largest: float
    kernels: str

    @property
    def holds(self) -> bool:
        """Whether a row's bits depend on nothing but the row."""
        return "," not in self.rows and self.repeat and self.place and self.neighbours


#: Operations of a call whose kernels are named, which takes longer than all else.
NAMED = 20


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its block, tries each operation of a call by itself, once for each shape.

    Whatever comes after an operation whose bits vary varies too; so each is given the very same
    inputs in calls of fewer rows, of rows in other places and with other neighbours.

    Attributes:
        findings: of each operation that was tried.
        used: how often each operation was called, by the key of its finding.
        untried: names of those that have no rows, or do not take fewer of them.
    """

    def __init__(self, unet: Any, counts: list[int], budget: Budget) -> None:
        """Watch calls of `counts[-1]` rows."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.findings: dict[Any, Finding] = {}
        self.used: Counter[Any] = Counter()
        self.untried: Counter[str] = Counter()
        self._counts = counts
        self._budget = budget
        self._named = 0
        self._weights = {p.untyped_storage().data_ptr() for p in unet.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and try it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func.is_view or func._schema.is_mutable or not self._budget.left:
            return output
        shapes = " ".join(
            "x".join(map(str, leaf.shape))
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, torch.Tensor)
        )
        key = (str(func), shapes)
        self.used[key] += 1
        if self.used[key] == 1:
            try:
                self.findings[key] = self._try(func, args, kwargs, _first(output), shapes)
            except (RuntimeError, TypeError, IndexError, ValueError, AssertionError):
                self.untried[str(func)] += 1
        return output

    def _try(self, func: Any, args: Any, kwargs: Any, whole: torch.Tensor, shapes: str) -> Finding:
        most = self._counts[-1]
        assert len(whole) % most == 0

        def call(change: Callable[[torch.Tensor], torch.Tensor], rows: int = most) -> torch.Tensor:
            new = tree_map(lambda x: change(x) if self._has_rows(x) else x, (args, kwargs))
            return _first(func(*_with_rows(func, new[0], rows), **new[1]))

        def of_fewer(n: int) -> torch.Tensor:
            return call(lambda x: x[: len(x) // most * n], n)

        size = len(whole) // most
        fewer = {n: of_fewer(n) for n in self._counts[:-1]}
        for n, part in fewer.items():
            assert len(part) == n * size
        bits = {n: _bits(part[:size]) for n, part in fewer.items()}
        # A row of all, not the first: places are looked at beside it.
        bits[most] = _bits(whole[:size])
        rolled = call(lambda x: _laid_out_as(x, x.roll(len(x) // most, 0)))
        mixed = call(lambda x: _laid_out_as(x, _others_flipped(x, len(x) // most)))
        n, part = next(iter(fewer.items()))
        finding = Finding(
            operation=str(func).removeprefix("aten."),
            shapes=shapes,
            rows=groups(bits),
            repeat=_same(call(lambda x: x), whole),
            place=_same(rolled[size:], whole[:-size]),
            neighbours=_same(mixed[:size], whole[:size]),
            largest=float((part.double() - whole[: len(part)].double()).abs().max()),
            kernels="",
        )
        if finding.holds or not whole.is_cuda or self._named == NAMED:
            return finding
        self._named += 1
        few = _kernels(lambda: of_fewer(n))
        all_rows = _kernels(lambda: call(lambda x: x))
        return finding._replace(kernels=f"{n} rows {few}; {most} rows {all_rows}")

    def _has_rows(self, x: Any) -> bool:
        return (
            isinstance(x, torch.Tensor)
            and x.ndim > 0
            and len(x) >= self._counts[-1]
            and len(x) % self._counts[-1] == 0
            # A weight has none, unless it was repeated for them.
            and (x.stride(0) == 0 or x.untyped_storage().data_ptr() not in self._weights)
        )


def _others_flipped(x: torch.Tensor, row: int) -> torch.Tensor:
    return torch.cat([x[:row], x[row:].flip(0)])


def _laid_out_as(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values with the strides of `x`, by which kernels are chosen too."""
    if x.stride(0) == 0:  # one row, repeated
        return x
    if 0 in x.stride():
        return values
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).copy_(values)


def _first(output: Any) -> torch.Tensor:
    tensor = output[0] if isinstance(output, (tuple, list)) else output
    assert isinstance(tensor, torch.Tensor)
    return tensor


def _with_rows(func: Any, args: Any, rows: int) -> Any:
    """Group norm is told its rows beside its tensors."""
    if func is torch.ops.aten.native_group_norm.default:
        return (*args[:3], rows, *args[4:])
    return args


def _kernels(call: Callable[[], Any]) -> str:
    """Names of the kernels that a call runs, without their arguments."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    names = [event.key.replace("(anonymous namespace)", "") for event in seen.key_averages()]
    # What is left out is the driver's: cudaLaunchKernel, cuLaunchKernelEx, Memset.
    kernels = [name for name in names if not re.match(r"cu(da)?[A-Z]|Mem", name)]
    return " + ".join(name.split("(")[0][:90] for name in kernels)


def try_operations(
    model: Model, size: int, counts: list[int], budget: Budget
) -> tuple[Operations, Iterator[tuple[Finding, int]]]:
    """Try every operation of a UNet call; those whose bits vary come with how often they ran."""
    seen = Operations(model.unet, counts, budget)
    # Not in inference mode, where torch would not take operations apart.
    with torch.inference_mode(False), torch.no_grad():
        inputs = unet_inputs(model, counts[-1], size)
        with seen:
            call_unet(model.unet, inputs)
    return seen, ((f, seen.used[key]) for key, f in seen.findings.items() if not f.holds)
