"""Which numbers of rows of a UNet call give a row the same bits on this machine.

    python benchmarks/rows.py [--model demo] [--size 128] [--most 16]

Prints, for each dtype, groups of numbers of rows that agree with each other: as the UNet is, and
as the engine calls it (with `RowLinear`). Then
whether a row's place among the others matters at the largest number.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.engine.conditions.size import SizeCondition
from batch_sdxl.core.engine.conditions.text import TextCondition
from batch_sdxl.core.engine.denoiser import Denoiser
from batch_sdxl.core.engine.rows import Rows
from batch_sdxl.core.models.row_linear import RowLinear
from batch_sdxl.core.models.spec import DTYPES
from batch_sdxl.core.numerics import device_class
from batch_sdxl.core.pinning import pinned


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--most", type=int, default=16)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=list(DTYPES))
    args = parser.parse_args()
    for dtype in args.dtypes:
        model = load_model(args.model, dtype=dtype)
        rows = _rows(model, args.size, args.most)
        print(f"{device_class(model.device)}, {torch.get_num_threads()} threads, {dtype}")
        for name, make in (("as it is", _as_it_was), ("as the engine calls it", Denoiser)):
            denoise = make(model)
            groups = defaultdict(list)
            for count in range(1, args.most + 1):
                groups[_bits(denoise, rows, count, 0)].append(count)
            print(f"  {name}: {'   '.join(str(group) for group in groups.values())}")
        places = {_bits(denoise, rows, args.most, place) for place in range(args.most)}
        print(f"  places of a row at {args.most} rows: {len(places)} different results")


def _rows(model: Model, size: int, count: int) -> Rows:
    draw = torch.Generator().manual_seed(0)
    width = model.unet.config.cross_attention_dim
    pooled = model.text_encoders[1].config.projection_dim
    place = {"device": model.device, "dtype": model.dtype}
    return Rows(
        torch.randn(count, 4, size // 8, size // 8, generator=draw),
        torch.linspace(1, 981, count),
        (
            TextCondition(
                torch.randn(count, 77, width, generator=draw).to(**place),
                torch.randn(count, pooled, generator=draw).to(**place),
            ),
            SizeCondition(torch.tensor([[float(size), size, 0, 0, size, size]] * count)),
        ),
    )


def _bits(denoise: Denoiser, rows: Rows, count: int, place: int) -> bytes:
    """The first row's result in a call of so many rows, with that row at some place."""
    order = [*range(1, place + 1), 0, *range(place + 1, count)]
    with pinned(denoise._model.device):
        result = denoise._call(rows.map(lambda part: part[order]))
    return bytes(result[place].numpy().tobytes())


def _as_it_was(model: Model) -> Denoiser:
    """One whose UNet has plain linear layers over whole rows."""
    denoise = Denoiser(model)
    for module in model.unet.modules():
        if isinstance(module, RowLinear):
            module.__class__ = torch.nn.Linear
    return denoise


if __name__ == "__main__":
    main()
