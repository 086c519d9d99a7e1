"""The node classes that run without ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import InvalidWorkflow


@dataclass(frozen=True)
class Catalog:
    """Node classes by the name that workflows use, and their names for people."""

    classes: Mapping[str, type[Any]]
    titles: Mapping[str, str] = field(default_factory=dict)

    def title(self, class_type: str) -> str:
        """What the editor calls a fresh node of that class."""
        return self.titles.get(class_type, class_type)

    def require(self, nodes: Mapping[str, str]) -> None:
        """Refuse nodes that only ComfyUI knows, all of them in one message.

        Args:
            nodes: node id -> class name.

        Raises:
            InvalidWorkflow: the class of some node is not here.
        """
        unknown = [
            f'"{kind}" (node {node_id})'
            for node_id, kind in nodes.items()
            if kind not in self.classes
        ]
        if unknown:
            known = ", ".join(sorted(self.title(kind) for kind in self.classes))
            raise InvalidWorkflow(
                f"only nodes that run without ComfyUI ({known})",
                ", ".join(unknown),
                "This workflow needs ComfyUI: run it there, or mute those nodes. "
                "If they are Batch SDXL's own, update batch-sdxl.",
            )


def installed() -> Catalog:
    """The pack's nodes, and stand-ins for the few of ComfyUI that belong to most workflows."""
    from ... import nodes
    from . import stand_ins

    return Catalog(
        {**stand_ins.NODE_CLASS_MAPPINGS, **nodes.NODE_CLASS_MAPPINGS},
        {**stand_ins.NODE_DISPLAY_NAME_MAPPINGS, **nodes.NODE_DISPLAY_NAME_MAPPINGS},
    )
