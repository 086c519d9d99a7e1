"""What ComfyUI's own nodes say, followed from a sampler back to where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.errors import InvalidWorkflow
from .graph import Graph, Link
from .inputs import inputs_of
from .stock import CLASSES
from .values import cast, check_range


@dataclass(frozen=True)
class Conditions:
    """One CONDITIONING.

    Attributes:
        node_id: of the node that encodes.
        text: the prompt.
        checkpoint: id of the loader that the text encoders are of.
        loras: ids of the LoRA nodes on them.
        settings: of Prompt Settings, as pairs.
    """

    node_id: str
    text: str
    checkpoint: str
    loras: tuple[str, ...]
    settings: tuple[tuple[str, int], ...] = ()


class Stock:
    """Reads the stock nodes of a graph.

    Raises:
        InvalidWorkflow: from each method, where they say what ours cannot.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def kind(self, link: Link) -> str:
        """The class of the node that a link comes from."""
        node = self._graph.nodes.get(link.node_id)
        return "" if node is None else node.class_type

    def refused(self, node_id: str, expected: str) -> InvalidWorkflow:
        """The error for a node that cannot be converted."""
        node = self._graph.nodes[node_id]
        return InvalidWorkflow(
            f"{expected}, to run it without ComfyUI",
            f"{self._graph.label(node_id)}, a {node.class_type}",
            "Change it, or run the workflow in ComfyUI.",
        )

    def source(self, node_id: str, name: str, *kinds: str) -> str:
        """The id of the node that is linked to an input, of one of some classes."""
        value = self._graph.nodes[node_id].inputs.get(name)
        if not isinstance(value, Link):
            raise self.refused(node_id, f"a link for input {name}")
        if self.kind(value) not in kinds:
            raise self.refused(
                value.node_id, f"{' or '.join(kinds)} for {self._graph.where(node_id, name)}"
            )
        return value.node_id

    def values(self, node_id: str) -> dict[str, Any]:
        """The constants of a stock node, of the right types; defaults where it has none."""
        node = self._graph.nodes[node_id]
        found: dict[str, Any] = {}
        for name, item in inputs_of(CLASSES[node.class_type]).items():
            if not item.is_widget:
                continue
            where = self._graph.where(node_id, name)
            value = node.inputs.get(name, item.default())
            if isinstance(value, Link):
                raise self.refused(node_id, f"a written value for input {name}")
            found[name] = cast(item, value, where)
            if item.kind != "COMBO":
                check_range(item, found[name], where)
            elif not isinstance(found[name], str):
                raise self.refused(node_id, f"a name for input {name}")
        return found

    def model(self, sampler: str) -> tuple[str, tuple[str, ...]]:
        """The checkpoint and the LoRA nodes that a sampler's MODEL comes from, first one first."""
        return self._chain(
            sampler, "model", ("CheckpointLoaderSimple", "LoraLoader", "LoraLoaderModelOnly")
        )

    def vae(self, node_id: str) -> str:
        """The id of the node that a VAE comes from."""
        return self.source(node_id, "vae", "CheckpointLoaderSimple", "VAELoader")

    def conditions(self, sampler: str, name: str) -> Conditions:
        """What a sampler's positive or negative says."""
        node_id = self.source(sampler, name, "CLIPTextEncode", "CLIPTextEncodeSDXL")
        own = self.values(node_id)
        checkpoint, loras = self._chain(node_id, "clip", ("CheckpointLoaderSimple", "LoraLoader"))
        if "text" in own:
            return Conditions(node_id, own["text"], checkpoint, loras)
        if own["text_g"].strip() != own["text_l"].strip():
            raise self.refused(node_id, "one text for both text encoders")
        settings = {
            "original_width": own["width"],
            "original_height": own["height"],
            "crop_left": own["crop_w"],
            "crop_top": own["crop_h"],
            "target_width": own["target_width"],
            "target_height": own["target_height"],
        }
        return Conditions(node_id, own["text_g"], checkpoint, loras, tuple(settings.items()))

    def _chain(
        self, node_id: str, name: str, kinds: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        loras: list[str] = []
        while True:
            node_id = self.source(node_id, name, *kinds)
            if self._graph.nodes[node_id].class_type == "CheckpointLoaderSimple":
                return node_id, tuple(reversed(loras))
            loras.append(node_id)
