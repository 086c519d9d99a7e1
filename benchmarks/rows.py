"""Which numbers of rows of a UNet call give a row the same bits on this machine.

    python benchmarks/rows.py [--model demo] [--size 128] [--most 16]

Prints, for each dtype, groups of numbers of rows that agree with each other: as the UNet is, and
as the engine calls it (linear layers over whole rows padded to a multiple of four rows). Then
whether a row's place among the others matters at the largest number.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.engine.denoiser import Denoiser, Rows
from batch_sdxl.core.models.spec import DTYPES
from batch_sdxl.core.numerics import device_class


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
        for name, padded in (("as it is", False), ("as the engine calls it", True)):
            groups = defaultdict(list)
            for count in range(1, args.most + 1):
                groups[_bits(model, rows, count, 0, padded)].append(count)
            print(f"  {name}: {'   '.join(str(group) for group in groups.values())}")
        places = {_bits(model, rows, args.most, place, True) for place in range(args.most)}
        print(f"  places of a row at {args.most} rows: {len(places)} different results")


def _rows(model: Model, size: int, count: int) -> Rows:
    draw = torch.Generator().manual_seed(0)
    width = model.unet.config.cross_attention_dim
    pooled = model.text_encoders[1].config.projection_dim
    place = {"device": model.device, "dtype": model.dtype}
    return Rows(
        torch.randn(count, 4, size // 8, size // 8, generator=draw),
        torch.linspace(1, 981, count),
        torch.randn(count, 77, width, generator=draw).to(**place),
        torch.randn(count, pooled, generator=draw).to(**place),
        torch.tensor([[float(size), size, 0, 0, size, size]] * count),
    )


def _bits(model: Model, rows: Rows, count: int, place: int, padded: bool) -> bytes:
    """The first row's result in a call of so many rows, with that row at some place."""
    order = [*range(1, place + 1), 0, *range(place + 1, count)]
    call = Denoiser(model)._call if padded else _plain(model)
    return bytes(call(Rows(*(part[order] for part in rows)))[place].numpy().tobytes())


def _plain(model: Model):  # type: ignore[no-untyped-def]
    @torch.inference_mode()
    def call(rows: Rows) -> torch.Tensor:
        (output,) = model.unet(
            rows.sample.to(model.device, model.dtype),
            rows.timestep.to(model.device),
            encoder_hidden_states=rows.prompt_embeds,
            added_cond_kwargs={
                "text_embeds": rows.pooled_prompt_embeds,
                "time_ids": rows.time_ids.to(model.device, model.dtype),
            },
            return_dict=False,
        )
        result: torch.Tensor = output.float().cpu()
        return result

    return call


if __name__ == "__main__":
    main()
