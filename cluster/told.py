"""What a crew tells a person, in words."""

from __future__ import annotations


def reason(error: Exception) -> str:
    """The line of an error of Ray's that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("The actor is dead because")]
    text = (said or lines or [type(error).__name__])[0]
    return text.partition(" Worker exit detail")[0].partition(". Some common")[0][:300]


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


def places(indices: list[int]) -> str:
    """Places of images as a person counts them: `1-4, 7`."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and spans[-1][1] == index:
            spans[-1][1] += 1
        else:
            spans.append([index + 1, index + 1])
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans[:20]]
    return ", ".join(shown + ["…"] * (len(spans) > 20))
