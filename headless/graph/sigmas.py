"""Steps and strength that run the noise levels which a sampler of ComfyUI runs."""

from __future__ import annotations

#: Of Batch Generate.
MOST_STEPS = 10_000


def planned_for(steps: int, denoise: float) -> int:
    """The steps that ComfyUI plans, to run the last `steps` of them; 0 for too many."""
    return 0 if denoise <= 0 or steps / denoise > MOST_STEPS else int(steps / denoise)


def strength_for(planned: int, run: int) -> float:
    """The strength by which the last `run` of the planned steps are run here.

    Here int(planned * strength) are.

    Returns:
        One of three decimals; 0 where there is none.
    """
    if not 1 <= run <= planned <= MOST_STEPS:
        return 0
    strength = -(-run * 1000 // planned) / 1000
    while int(planned * strength) < run:  # a product may be a hair too small
        strength = round(strength + 0.001, 3)
    return strength if int(planned * strength) == run else 0
