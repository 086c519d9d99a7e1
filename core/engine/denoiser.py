"""UNet calls in which a row's bits do not depend on the other rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from ..models.model import Model
from ..numerics import Geometry, deterministic

#: Rows that linear layers over whole rows get at least; beside the rest of a call they are nothing.
FEW = 32


class Rows(NamedTuple):
    """What the UNet is given, a row for each of its guesses.

    Attributes:
        sample: (R, 4, H/8, W/8) fp32, scaled for the timestep.
        timestep: (R,) fp32.
        prompt_embeds: (R, T, C) in the model's dtype, on its device.
        pooled_prompt_embeds: (R, P), likewise.
        time_ids: (R, 6): original height and width, crop top and left, target height and width.
    """

    sample: torch.Tensor
    timestep: torch.Tensor
    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor
    time_ids: torch.Tensor


class Denoiser:
    """Calls the UNet at a fixed geometry, or smaller where that gives the same bits.

    Kernels are chosen by shape, and with them the order of sums: a call of one shape says nothing
    about the bits of another. On a CPU, though, calls of any even number of rows have been seen to
    agree, once the linear layers over whole rows always get as many of them. That is tried out on
    the machine before it is relied on; if it fails there, calls are filled up with padding.
    """

    def __init__(self, model: Model) -> None:
        """Call the UNet of `model`."""
        self._model = model
        self._agreements: dict[tuple[Any, ...], bool] = {}

    def __call__(self, rows: Rows, geometry: Geometry) -> torch.Tensor:
        """The UNet's output, (R, 4, H/8, W/8) fp32 on the CPU, for at most `geometry.rows` rows."""
        count = len(rows.sample)
        even = count + count % 2
        full = geometry.rows
        size = even if even == full or self._small_calls_agree(rows, full) else full
        return self._call(Rows(*(_padded(part, size) for part in rows)))[:count]

    def _small_calls_agree(self, rows: Rows, full: int) -> bool:
        """Whether calls of fewer than `full` rows of this shape have the bits of a full one."""
        if self._model.device.type != "cpu":
            return False
        shapes = (rows.sample.shape[1:], rows.prompt_embeds.shape[1:])
        key = (*shapes, full, torch.get_num_threads())
        if key not in self._agreements:
            self._agreements[key] = self._try_small_calls(rows, full)
        return self._agreements[key]

    def _try_small_calls(self, rows: Rows, full: int) -> bool:
        generator = torch.Generator().manual_seed(0)

        def noise(part: torch.Tensor) -> torch.Tensor:
            return torch.randn(full, *part.shape[1:], generator=generator).to(part.dtype)

        probe = Rows(
            noise(rows.sample),
            torch.linspace(1, 999, full),
            noise(rows.prompt_embeds),
            noise(rows.pooled_prompt_embeds),
            _padded(rows.time_ids[:1], full),
        )
        expected = self._call(probe)
        return all(
            torch.equal(self._call(Rows(*(part[:count] for part in probe))), expected[:count])
            for count in range(2, full, 2)
        )

    @torch.inference_mode()
    def _call(self, rows: Rows) -> torch.Tensor:
        device, dtype = self._model.device, self._model.dtype
        with deterministic(device), _padded_linears(self._model.unet, len(rows.sample)):
            (output,) = self._model.unet(
                rows.sample.to(device, dtype),
                rows.timestep.to(device),
                encoder_hidden_states=rows.prompt_embeds,
                added_cond_kwargs={
                    "text_embeds": rows.pooled_prompt_embeds,
                    "time_ids": rows.time_ids.to(device, dtype),
                },
                return_dict=False,
            )
        predictions: torch.Tensor = output.float().cpu()
        return predictions


def _padded(part: torch.Tensor, size: int) -> torch.Tensor:
    """The rows, and zeros up to `size` of them."""
    return torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])


@contextmanager
def _padded_linears(unet: torch.nn.Module, count: int) -> Iterator[None]:
    """Give linear layers over whole rows (time and pooled embedding) a multiple of `FEW` rows.

    With few rows, matrix multiplication on a CPU takes another path for one number than for
    another: on some machines 4 and 8 rows differ.
    """
    missing = -count % FEW

    def fill(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[Any, ...] | None:
        (x, *others) = inputs
        return (_padded(x, count + missing), *others) if x.ndim == 2 else None

    def cut(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        return output[:count] if output.ndim == 2 else None

    linears = [m for m in unet.modules() if missing and isinstance(m, torch.nn.Linear)]
    handles = [m.register_forward_pre_hook(fill) for m in linears]
    handles += [m.register_forward_hook(cut) for m in linears]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
