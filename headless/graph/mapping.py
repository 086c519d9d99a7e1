"""ComfyUI's way of calling a node: once for each element of the lists that reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def call(node: Any, function: str, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The results of a method, one for each call.

    A node with INPUT_IS_LIST is called once, with the lists. Any other is called as often as the
    longest list has elements; shorter lists repeat their last one.

    Args:
        node: an instance, or a class whose method is a classmethod.
        function: name of the method.
        inputs: a list for each argument; none of them empty unless the node takes lists.
    """
    method = getattr(node, function)
    if getattr(node, "INPUT_IS_LIST", False):
        return [method(**inputs)]
    times = max(map(len, inputs.values()), default=1)
    return [
        method(**{name: values[min(at, len(values) - 1)] for name, values in inputs.items()})
        for at in range(times)
    ]


def merge(results: Sequence[Sequence[Any]], are_lists: Sequence[bool]) -> list[list[Any]]:
    """The outputs of a node from its results: for each output, the list that its readers get.

    Args:
        results: what each call returned.
        are_lists: OUTPUT_IS_LIST; results of those outputs are joined.
    """
    return [
        [one for value in values for one in value] if is_list else list(values)
        for values, is_list in zip(zip(*results, strict=True), are_lists, strict=True)
    ]
