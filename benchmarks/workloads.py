"""What is asked for: the same requests for everybody."""

from __future__ import annotations

from collections.abc import Callable

from batch_sdxl.core import ImageRequest

from .contestants import prompt, uniform

#: Words that make a prompt of one, two and three chunks of 77 tokens.
_LONG = ("", ", a blue star" * 25, ", a blue star" * 50)


def mixed(images: int, steps: int, pixels: int) -> list[ImageRequest]:
    """Half to twice the steps, every third without guidance, three sizes, one to three chunks.

    Those that differ in one respect differ in others too, as the work of several people does.
    """
    sizes = [(1, 1), (3 / 4, 5 / 4), (3 / 4, 3 / 4)]
    return [
        ImageRequest(
            prompt=prompt(n) + _LONG[n // 2 % 3],
            seed=n,
            num_inference_steps=max(1, steps * (1 + n % 4) // 2),
            guidance_scale=1.0 if n % 3 == 2 else 5.0,
            width=int(sizes[n // 3 % 3][0] * pixels),
            height=int(sizes[n // 3 % 3][1] * pixels),
        )
        for n in range(images)
    ]


def alone(images: int, steps: int, pixels: int) -> list[ImageRequest]:
    """One image."""
    return uniform(1, steps, pixels)


def tries(images: int, steps: int, pixels: int) -> list[ImageRequest]:
    """What a person asks for who tries things: one image after another, each looked at."""
    return uniform(max(2, images // 4), steps, pixels)


#: Name -> requests for so many images, steps and pixels.
WORKLOADS: dict[str, Callable[[int, int, int], list[ImageRequest]]] = {
    "uniform": uniform,
    "mixed": mixed,
    "alone": alone,
    "tries": tries,
}
