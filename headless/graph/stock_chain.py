"""What ComfyUI's own nodes say, followed from a sampler back to where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import InvalidWorkflow
from .graph import Graph, Link
from .inputs import inputs_of
from .sigmas import planned_for
from .stock import CLASSES
from .values import cast, check_range

_ENCODERS = ("CLIPTextEncode", "CLIPTextEncodeSDXL", "ConditioningZeroOut")
#: Of the smaller of SDXL's text encoders.
_LAYERS = 12


@dataclass(frozen=True)
class Conditions:
    """One CONDITIONING.

    Attributes:
        node_id: of the node that encodes.
        text: the prompt.
        checkpoint: id of the loader that the text encoders are of.
        loras: ids of the LoRA nodes on them.
        settings: of Prompt Settings, as pairs.
        is_zero: whether zeros stand in place of all its numbers.
    """

    node_id: str
    text: str
    checkpoint: str
    loras: tuple[str, ...]
    settings: tuple[tuple[str, int], ...] = ()
    is_zero: bool = False


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

    def sampling(self, sampler: str) -> dict[str, Any]:
        """The constants of a sampler, whichever it is.

        Returns:
            Those that all have; `planned` steps, how many of them `run`, the last ones; and in
            words, which `part` of them that is.
        """
        own = self.values(sampler)
        steps = own.pop("steps")
        if self._graph.nodes[sampler].class_type == "KSampler":
            denoise = own.pop("denoise")
            own["part"] = f"{steps} steps at denoise {denoise:g}"
            return own | {"planned": planned_for(steps, denoise), "run": steps}
        if own["add_noise"] != "enable":
            raise self.refused(sampler, "noise of its own (add_noise enable)")
        if own["end_at_step"] < steps:
            raise self.refused(sampler, f"an end_at_step of {steps} or more, its last step")
        start = own["start_at_step"]
        part = f"those from step {start} on"
        return own | {
            "seed": own["noise_seed"],
            "planned": steps,
            "run": steps - start,
            "part": part,
        }

    def conditions(self, node_id: str, name: str) -> Conditions:
        """What a sampler's positive or negative says."""
        before, node_id = node_id, self.source(node_id, name, *_ENCODERS)
        if self._graph.nodes[node_id].class_type == "ConditioningZeroOut":
            if self._graph.nodes[before].class_type == "ConditioningZeroOut":
                raise self.refused(node_id, "zeros once")
            return replace(self.conditions(node_id, "conditioning"), text="", is_zero=True)
        own = self.values(node_id)
        checkpoint, nodes = self._chain(
            node_id, "clip", ("CheckpointLoaderSimple", "LoraLoader", "CLIPSetLastLayer")
        )
        loras = tuple(one for one in nodes if self._graph.nodes[one].class_type == "LoraLoader")
        layers = [one for one in nodes if one not in loras]
        # The last one counts.
        skipped = self._skipped(layers[-1]) if layers else ()
        if "text" in own:
            return Conditions(node_id, own["text"], checkpoint, loras, skipped)
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
        told = (*settings.items(), *skipped)
        return Conditions(node_id, own["text_g"], checkpoint, loras, told)

    def _skipped(self, node_id: str) -> tuple[tuple[str, int], ...]:
        """The setting for a CLIP Set Last Layer; none for SDXL's own layer."""
        layer = self.values(node_id)["stop_at_clip_layer"]
        if not -_LAYERS <= layer <= -2:
            # ComfyUI takes the last layer for -1, and for more than the first encoder has.
            raise self.refused(node_id, f"a stop_at_clip_layer of -{_LAYERS} to -2, not {layer}")
        return () if layer == -2 else (("clip_skip", -2 - layer),)

    def _chain(
        self, node_id: str, name: str, kinds: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        loras: list[str] = []
        while True:
            node_id = self.source(node_id, name, *kinds)
            if self._graph.nodes[node_id].class_type == "CheckpointLoaderSimple":
                return node_id, tuple(reversed(loras))
            loras.append(node_id)
