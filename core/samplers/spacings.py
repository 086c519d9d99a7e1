"""Where a sampler stops between pure noise and none: ComfyUI's "scheduler".

Each function gives the noise levels, falling, of so many steps: one more, the last 0. Most reckon
in fp32, by torch, as ComfyUI does: at the largest sigma of zero terminal SNR that is not
negligible, and a Brownian path tells sigmas apart that differ in their last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from math import atan, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .levels import Levels

Spacing = Callable[["Levels", int], list[float]]


def _even(first: float, last: float, steps: int) -> torch.Tensor:
    import torch

    return torch.linspace(first, last, steps)


def normal(levels: Levels, steps: int) -> list[float]:
    """Even timesteps, from the last to the first (arXiv:2305.08891, table 2, "linspace")."""
    timesteps = _even(len(levels.sigmas) - 1, 0, steps)
    return [*map(levels.sigma, timesteps.tolist()), 0.0]


def sgm_uniform(levels: Levels, steps: int) -> list[float]:
    """Even timesteps from the last on, as if there were one at no noise (Stability AI's
    generative-models)."""
    timesteps = _even(len(levels.sigmas) - 1, 0, steps + 1)[:-1]
    return [*map(levels.sigma, timesteps.tolist()), 0.0]


def simple(levels: Levels, steps: int) -> list[float]:
    """Whole timesteps, even, counted from the last (arXiv:2305.08891, table 2, "trailing")."""
    stride = len(levels.sigmas) / steps
    return [float(levels.sigmas[-1 - int(n * stride)]) for n in range(steps)] + [0.0]


def ddim_uniform(levels: Levels, steps: int) -> list[float]:
    """Whole timesteps, even, counted from the second (arXiv:2305.08891, table 2, "leading").

    Where the number of steps does not divide that of the timesteps, there is room for more steps
    than asked for, and they are taken.
    """
    stride = max(len(levels.sigmas) // steps, 1)
    return [0.0, *(float(sigma) for sigma in levels.sigmas[1::stride])][::-1]


def karras(levels: Levels, steps: int) -> list[float]:
    """Even in the seventh root of sigma (arXiv:2206.00364, eq. 5)."""
    first, last = levels.largest ** (1 / 7), levels.smallest ** (1 / 7)
    roots = first + _even(0, 1, steps) * (last - first)
    return [*(roots**7).tolist(), 0.0]


def exponential(levels: Levels, steps: int) -> list[float]:
    """Even in the logarithm of sigma (arXiv:2206.00927, where it is the uniform one in log-SNR)."""
    logs = _even(log(levels.largest), log(levels.smallest), steps)
    return [*logs.exp().tolist(), 0.0]


def beta(levels: Levels, steps: int) -> list[float]:
    """Timesteps by the quantiles of the beta distribution of 0.6 and 0.6: dense at both ends
    (arXiv:2407.12173).

    Steps that fall on one timestep are one step.
    """
    import numpy as np
    from scipy.stats import beta as distribution

    shares = 1 - np.linspace(0, 1, steps, endpoint=False)
    timesteps = np.rint(distribution.ppf(shares, 0.6, 0.6) * (len(levels.sigmas) - 1))
    return [float(levels.sigmas[int(t)]) for t in dict.fromkeys(timesteps)] + [0.0]


def linear_quadratic(levels: Levels, steps: int) -> list[float]:
    """The first half of the steps takes 1/40 of the noise, evenly; the others' steps grow, evenly
    too (arXiv:2410.13720; the numbers are Mochi's).
    """
    import numpy as np

    if steps == 1:
        return [levels.largest, 0.0]
    half, part = steps // 2, 0.025
    shares = [part * n / half for n in range(half)]
    # What is left, less what steps as even as before would take, goes by the square.
    rest, slope = steps - half, part / half
    shares += [
        part + slope * n + (1 - part - slope * rest) * (n / rest) ** 2 for n in range(rest + 1)
    ]
    kept = 1 - np.array(shares[:-1])
    return [*(kept.astype(np.float32) * levels.sigmas[-1]).tolist(), 0.0]


def kl_optimal(levels: Levels, steps: int) -> list[float]:
    """Even in the arc tangent of sigma: best for data that are one Gaussian (arXiv:2404.14507)."""
    angles = _even(atan(levels.largest), atan(levels.smallest), steps)
    return [*angles.tan().tolist(), 0.0]


#: Optimised for SDXL, ten steps (arXiv:2404.14507). These are the numbers of its authors' page,
#: research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html, as diffusers and AUTOMATIC1111's
#: web UI have them; ComfyUI's node has those of the whole timesteps nearest, up to 1.4 % away.
_AYS = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def ays(levels: Levels, steps: int) -> list[float]:
    """Align Your Steps: levels that were found by optimising them for SDXL; for another number of
    steps, even between them in the logarithm, as its authors say."""
    import numpy as np

    places = np.interp(
        np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(_AYS)), np.log(np.array(_AYS))
    )
    return [float(sigma) for sigma in np.exp(places[:-1])] + [0.0]


#: Spacings that take no timestep twice -> how many there are, in SDXL.
MOST_STEPS = {"simple": 1000}

SPACINGS: dict[str, Spacing] = {
    "normal": normal,
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "sgm_uniform": sgm_uniform,
    "simple": simple,
    "ddim_uniform": ddim_uniform,
    "linear_quadratic": linear_quadratic,
    "kl_optimal": kl_optimal,
    "ays": ays,
}
