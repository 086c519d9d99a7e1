"""Tensors between the CPU and a device that works beside it, where neither waits."""

from __future__ import annotations

import torch


def works_beside(device: torch.device) -> bool:
    """Whether a device goes on with what it was given while the CPU does something else."""
    return device.type == "cuda"


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device: there by the time that the device comes to use it."""
    if not works_beside(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Landing:
    """A tensor of a device on its way to the CPU."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Have it come when the device has done what it was given so far."""
        self._is_pinned = works_beside(tensor.device)
        if self._is_pinned:
            self._tensor = torch.empty_like(tensor, device="cpu", pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
        else:
            self._tensor = tensor.cpu()
        self._mark = Mark(tensor.device)

    @property
    def is_here(self) -> bool:
        """Whether `wait` returns at once."""
        return self._mark.is_there

    def wait(self) -> torch.Tensor:
        """The tensor, once it is here; in memory of its own, since pinned memory is scarce."""
        self._mark.wait()
        return self._tensor.clone() if self._is_pinned else self._tensor


class Mark:
    """How far a device is to have come: to the end of what it was given so far."""

    def __init__(self, device: torch.device) -> None:
        """Of what the current stream was given."""
        self._event: torch.cuda.Event | None = None
        if works_beside(device):
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    @property
    def is_there(self) -> bool:
        """Whether it has come so far."""
        return self._event is None or self._event.query()  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Wait until it is there."""
        if self._event is not None:
            self._event.synchronize()
