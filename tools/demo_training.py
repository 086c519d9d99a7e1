"""What both trainings share: a budget of wall-clock time, and checkpoints to go on from."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.models import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from torch import nn


@torch.no_grad()
def start_as_identity(module: nn.Module) -> None:
    """Makes each residual and attention block add nothing at first: the signal passes."""
    for block in module.modules():
        if isinstance(block, ResnetBlock2D):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)
        elif isinstance(block, Transformer2DModel):
            nn.init.zeros_(block.proj_out.weight)
            nn.init.zeros_(block.proj_out.bias)


class TimedRun:
    """A training that ends after `seconds` of its own time, however often it was interrupted.

    The learning rate warms up, then falls to zero along a cosine of the *time* spent, so that the
    schedule always ends with the budget, whatever the speed of the machine.
    """

    def __init__(
        self,
        module: nn.Module,
        path: Path,
        *,
        seconds: float,
        learning_rate: float,
        weight_decay: float = 0.01,
        warmup_steps: int = 100,
        average_decay: float = 0.0,
    ) -> None:
        """Starts anew, or from the checkpoint at `path` if there is one."""
        self.module, self.path, self.seconds = module, path, seconds
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps
        self.average_decay = average_decay
        self.cores = torch.get_num_threads()
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99)
        )
        self.step, self.spent = 0, 0.0
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        if path.exists():
            self._load(torch.load(path, weights_only=True))

    def steps(self, *, save_every: float = 300.0) -> Iterator[int]:
        """Yields step numbers until the time is spent; call `.backward(loss)` once in each.

        Beside other work a second thread can slow the first down, waiting for it: now and then
        both ways are tried, and the faster one taken.
        """
        last, saved = time.monotonic(), self.spent
        trials: dict[int, float] = {}
        while self.spent < self.seconds:
            progress = self.spent / self.seconds
            rate = self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * min(1.0, (self.step + 1) / self.warmup_steps)
            trial = self.step % 100
            if trial in (0, 8):
                torch.set_num_threads(1 if trial == 0 else self.cores)
                trials[trial] = time.monotonic()
            elif trial == 16:
                one_core = trials[8] - trials[0] < time.monotonic() - trials[8]
                torch.set_num_threads(1 if one_core else self.cores)
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.spent, last = self.spent + now - last, now
            if self.spent - saved > save_every:
                saved = self.spent
                self.save()
        self.save()

    def backward(self, loss: torch.Tensor) -> None:
        """One optimizer step down this loss, and the running average of the weights moved on."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        # A young average follows quickly: the first weights are noise and must not linger.
        decay = min(self.average_decay, (self.step + 1) / (self.step + 10))
        for key, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)

    def save(self) -> None:
        """Writes the checkpoint; the old one stays until the new one is whole."""
        state: dict[str, Any] = {
            "module": self.module.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.path)

    def _load(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.spent = state["average"], state["step"], state["spent"]
