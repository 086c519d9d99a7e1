"""The noise levels that a model was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What alpha-bar is held to be where zero terminal SNR leaves no signal; a sigma of 4518.8, as in
#: ComfyUI and AUTOMATIC1111's web UI.
LEAST_SIGNAL = 4.8973451890853435e-08


class Levels:
    """Sigma, the noise's share over the image's, of each timestep; and between them.

    Between two timesteps the logarithm of sigma is a straight line.

    Attributes:
        sigmas: (training steps,) fp32, rising.
    """

    def __init__(self, model_config: Mapping[str, Any]) -> None:
        """Take the levels of a model.

        Args:
            model_config: configuration of the scheduler that the model was stored with.
        """
        signal = np.cumprod(1 - _betas(model_config)).astype(np.float64)
        if model_config.get("rescale_betas_zero_snr"):
            signal = _without_signal_at_the_end(signal)
        sigmas = np.sqrt((1 - signal) / signal)
        self.sigmas: NDArray[np.float32] = sigmas.astype(np.float32)
        self._logs = np.log(sigmas).astype(np.float32)

    @property
    def smallest(self) -> float:
        """The first timestep's sigma."""
        return float(self.sigmas[0])

    @property
    def largest(self) -> float:
        """The last timestep's sigma."""
        return float(self.sigmas[-1])

    # In fp32, and by torch, so that a level midway between two timesteps falls to the one that it
    # falls to in ComfyUI.

    def sigma(self, timestep: float) -> float:
        """Sigma at a timestep, whole or not."""
        import torch

        place = torch.tensor(timestep, dtype=torch.float32)
        low, high = int(place.floor()), int(place.ceil())
        logs, share = torch.from_numpy(self._logs), place.frac()
        return float(((1 - share) * logs[low] + share * logs[high]).exp())

    def timestep(self, sigma: float) -> float:
        """The whole timestep whose sigma is nearest, which is what ComfyUI tells the UNet."""
        import torch

        log = torch.tensor(sigma, dtype=torch.float32).log()
        return float((log - torch.from_numpy(self._logs)).abs().argmin())


def _betas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    """Of each training step; in doubles, as the models were trained with."""
    schedule = config.get("beta_schedule", "linear")
    steps = config.get("num_train_timesteps", 1000)
    first, last = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
    if config.get("trained_betas") is None:
        if schedule == "linear":
            return np.linspace(first, last, steps)
        if schedule == "scaled_linear":
            return np.square(np.linspace(sqrt(first), sqrt(last), steps))
    from diffusers import DDPMScheduler

    known = ("num_train_timesteps", "beta_schedule", "trained_betas")
    scheduler = DDPMScheduler(**{name: config[name] for name in known if name in config})
    other: NDArray[np.float64] = scheduler.betas.double().numpy()
    return other


def _without_signal_at_the_end(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha-bar rescaled to zero terminal SNR (arXiv:2305.08891, algorithm 1)."""
    roots = np.sqrt(signal)
    roots = (roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))
    rescaled: NDArray[np.float64] = np.maximum(roots**2, LEAST_SIGNAL)
    return rescaled
