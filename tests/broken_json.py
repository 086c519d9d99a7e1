"""JSON with something wrong in it."""

import copy
import random
from collections.abc import Iterator
from typing import Any

#: What takes the place of a part.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**70, 1e400, float("nan"), 0.5, "", "x", "-10", "\0", "💥" * 9),
    *([], {}, [[]], [None], ["1", 0], ["1", -1], ["9", 9], [1, 0], {"__value__": [1]}),
    *({"a": {"b": []}}, "../../etc/passwd", "/etc/passwd", "{", "{a|b", "__x__", "9" * 400),
    *(4, 2, "Reroute", "PrimitiveNode", "KSampler", "SaveImage", {"nodes": [], "links": []}),
)


def broken(content: Any, draw: random.Random, names: tuple[str, ...] = ("x",)) -> Any:
    """JSON with a few of its parts replaced, taken out, doubled or put elsewhere.

    Args:
        content: it, to be changed.
        draw: what happens to it.
        names: those that a part may get.
    """
    for _ in range(draw.randint(1, 4)):
        container, key = draw.choice(list(_places(content)) or [([content], 0)])
        match draw.randrange(6):
            case 0:
                del container[key]
            case 1:
                other, there = draw.choice(list(_places(content)) or [(container, 0)])
                with_other = copy.deepcopy(other[there])
                if key in container or isinstance(container, list):
                    container[key] = with_other
            case 2 if isinstance(container, list):
                container.insert(0, copy.deepcopy(container[key]))
            case 3 if isinstance(container, dict):
                container[draw.choice(names)] = container.pop(key)
            case _:
                container[key] = copy.deepcopy(draw.choice(ODD))
        if not content:
            break
    return content


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each (container, key) of some JSON."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
