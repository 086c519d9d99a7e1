"""A graph of ComfyUI, as it is written into pictures -> the prompt that its picture was made from.

Looked for is the sampler that leads to the saved image. Nodes that are not known are gone through
where only one way leads on; anything else is refused, since half a prompt is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .rows import field_of


class NotSaid(ValueError):
    """Why a picture's texts give no prompt."""


class PictureNode(NamedTuple):
    """A node of a picture's graph: its key, its class, and what its inputs are set or linked to."""

    key: str
    kind: str
    inputs: Mapping[str, Any]

    def __str__(self) -> str:
        """As it is named in messages."""
        return f"{self.kind or 'a node'} (node {self.key})"


#: What does not lead from a sampler or an image back to the image before.
_ASIDE = re.compile(
    r"(model|unet|clip|vae|positive|negative|cond|control|guider|noise|sampler|sigmas|text|prompt|"
    r"seed|lora|style|pipe|ctx).*"
)
_SAMPLING = {"seed", "noise_seed", "noise", "steps", "sampler_name", "sampler", "sigmas"}
#: Classes that join texts: their inputs, in order, and what goes between.
_JOINS = {
    "StringConcatenate": (("string_a", "string_b"), "delimiter"),
    "JoinStrings": (("string1", "string2"), "delimiter"),
    "Text Concatenate": (("text_a", "text_b", "text_c", "text_d"), "delimiter"),
    "CR Text Concatenate": (("text1", "text2"), "separator"),
}
#: Inputs that choose: the one that says which, what it takes if false, and if true.
_CHOICES = (
    ("switch", "on_false", "on_true"),
    ("boolean", "on_false", "on_true"),
    ("cond", "ff_value", "tt_value"),
)
_TEXTS = ("text", "prompt", "populated_text", "text_positive", "string", "value")
_SIDES = ("positive", "negative")
_NUMBERS = ("value", "seed", "number", "int", "float", "Number")


def graph_fields(graph: Mapping[str, Any], stem: str = "") -> dict[str, object]:
    """Prompt, negative prompt, and what the sampler says beside.

    Args:
        graph: in ComfyUI's API format: key -> class_type and inputs.
        stem: the picture's name; it tells which of several saved images it is.

    Raises:
        NotSaid: it is not clear which prompt the picture was made from.
    """
    try:
        found = [_Graph(graph).said(key) for key in _Graph(graph).saved(stem)]
    except RecursionError:
        raise NotSaid("a graph that goes in a circle, or is too deep") from None
    if not found:
        raise NotSaid("a graph without a sampler that is known")
    first = found[0]
    for name in ("prompt", "negative_prompt"):
        if any(one[name] != first[name] for one in found):
            raise NotSaid("a graph that saves images of different prompts")
    # What differs between the images that it may be, it does not say.
    return {k: v for k, v in first.items() if all(one.get(k) == v for one in found)}


class _Graph:
    def __init__(self, graph: Mapping[str, Any]) -> None:
        self._nodes = {
            str(key): PictureNode(str(key), str(node.get("class_type", "")), node["inputs"])
            for key, node in graph.items()
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }

    def saved(self, stem: str) -> list[str]:
        """The nodes at the end of the ways of which the picture may be one's result."""
        nodes = self._nodes.values()
        read = {link.key for node in nodes for link in self._links(node)}
        ends = [node for node in nodes if node.key not in read and self._samplers(node.key)]
        for of in ("save", "preview"):
            ends = [node for node in ends if of in node.kind.casefold()] or ends
            if of == "save":
                ends = [node for node in ends if _has_prefix(node, stem)] or ends
        return [node.key for node in ends]

    def said(self, end: str) -> dict[str, object]:
        """What the samplers say that lead to an image."""
        samplers = self._samplers(end)
        texts = [self._prompts(sampler) for sampler in samplers]
        if any(one != texts[0] for one in texts):
            raise NotSaid(f"different prompts at {samplers[0]} and {samplers[-1]}")
        # The last one found is the first that ran: the composition is of its seed.
        first = samplers[-1]
        guider = self._node(first.inputs.get("guider"))
        noise, sigmas = (
            self._node(first.inputs.get("noise")),
            self._node(first.inputs.get("sigmas")),
        )
        said: dict[str, object] = {"prompt": texts[0][0], "negative_prompt": texts[0][1]}
        for source, names in (
            (first, ("seed", "noise_seed", "steps", "cfg")),
            (noise, ("noise_seed",)),
            (sigmas, ("steps",)),
            (guider, ("cfg",)),
            (self._empty_latent(first), ("width", "height")),
        ):
            for name in names:
                number = self._number(source.inputs.get(name), name) if source else None
                if number is not None:
                    said.setdefault(field_of(name), number)
        return said

    def _samplers(self, end: str) -> list[PictureNode]:
        """The samplers on the ways to a node, the nearest first."""
        found, seen, queue = [], {end}, [end]
        for key in queue:
            node = self._nodes[key]
            if _is_sampler(node):
                found.append(node)
            chosen, value = self._chosen(node)
            ahead = [self._node(value)] if chosen else list(self._links(node, aside=False))
            for before in ahead:
                if before and before.key not in seen:
                    seen.add(before.key)
                    queue.append(before.key)
        return found

    def _prompts(self, sampler: PictureNode) -> tuple[str, str]:
        inputs = sampler.inputs
        if guider := self._node(inputs.get("guider")):
            inputs = guider.inputs
            if "cond1" in inputs:
                raise NotSaid(f"two prompts at {guider}")
            if "conditioning" in inputs:
                return self._conditioning(inputs["conditioning"], "positive"), ""
        if "positive" not in inputs:
            raise NotSaid(f"no prompt that can be found at {sampler}")
        positive = self._conditioning(inputs["positive"], "positive")
        # Some models take none.
        negative = inputs.get("negative")
        return positive, "" if negative is None else self._conditioning(negative, "negative")

    def _conditioning(self, value: object, side: str) -> str:
        """The text of a conditioning."""
        if isinstance(value, str):
            return value.strip()
        node = self._node(value)
        if node is None:
            raise NotSaid("a link that leads to no node")
        inputs = node.inputs
        chosen, taken = self._chosen(node)
        if chosen:
            return self._conditioning(taken, side)
        if node.kind == "ConditioningZeroOut":
            return ""
        if node.kind == "ConditioningConcat":
            ends = (inputs.get("conditioning_to"), inputs.get("conditioning_from"))
            return " BREAK ".join(filter(None, (self._conditioning(end, side) for end in ends)))
        if "positive" in inputs and "negative" in inputs:
            if "ckpt_name" in inputs or any(isinstance(inputs[s], str) for s in _SIDES):
                # It encodes: its inputs are texts, and other outputs may come before.
                return self._text(inputs[side])
            if (
                self._node(inputs["positive"])
                and isinstance(value, list)
                and value[1:2] in ([0], [1])
            ):
                side = _SIDES[value[1]]
            return self._conditioning(inputs[side], side)
        ahead = [
            inputs[name]
            for name in inputs
            if re.fullmatch(r"cond(itioning)?([_ ]?(\d+|to|from|a|b))?", name)
            and self._node(inputs[name])
        ]
        return self._joined(node, ahead, side) if ahead else self._encoded(node)

    def _joined(self, node: PictureNode, conditionings: list[object], side: str) -> str:
        """The text that all conditionings of a node have."""
        if any(name in node.inputs for name in _TEXTS):
            raise NotSaid(f"a second text, of a part of the picture, at {node}")
        texts = {self._conditioning(one, side) for one in conditionings}
        if len(texts) > 1:
            raise NotSaid(f"{len(texts)} prompts, joined at {node}")
        return texts.pop()

    def _encoded(self, node: PictureNode) -> str:
        """The text that an encoder is given."""
        inputs = node.inputs
        if "text_g" in inputs and "text_l" in inputs:
            texts = {self._text(inputs["text_g"]), self._text(inputs["text_l"])} - {""}
            if len(texts) > 1:
                raise NotSaid(f"two prompts, one for each text encoder, at {node}")
            return "".join(texts)
        if "populated_text" in inputs:
            return self._text(inputs["populated_text"])
        names = [name for name in _TEXTS if name in inputs]
        if len(names) != 1 or not ("clip" in inputs or "Encode" in node.kind):
            raise NotSaid(f"a prompt behind {node}, which is not known")
        return self._text(inputs[names[0]])

    def _text(self, value: object) -> str:
        """The text that is written in an input, or that a link leads to."""
        if isinstance(value, str):
            return value.strip()
        node = self._node(value)
        if node is None:
            raise NotSaid("a text that is none")
        chosen, taken = self._chosen(node)
        if chosen:
            return self._text(taken)
        if node.kind in _JOINS:
            names, between = _JOINS[node.kind]
            texts = [self._text(node.inputs[name]) for name in names if name in node.inputs]
            sign = node.inputs.get(between, "")
            if not isinstance(sign, str):
                raise NotSaid(f"a text behind {node}")
            return sign.replace("\\n", "\n").join(filter(None, texts))
        if "populated_text" in node.inputs:
            return self._text(node.inputs["populated_text"])
        # Of a node that shows a text, text_0 is what it has shown.
        names = tuple(name for name in node.inputs if name != "text_0")
        if len(names) != 1 or names[0].casefold() not in (*_TEXTS, "positive", "negative"):
            raise NotSaid(f"a text behind {node}, which is not known")
        return self._text(node.inputs[names[0]])

    def _number(self, value: object, name: str) -> float | None:
        for _ in range(len(self._nodes) + 1):
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            node = self._node(value)
            if node is None:
                return None
            _, value = self._chosen(node)
            held = next((one for one in (name, *_NUMBERS) if one in node.inputs), None)
            value = value if held is None else node.inputs[held]
        return None

    def _empty_latent(self, sampler: PictureNode) -> PictureNode | None:
        names = ("latent_image", "latent", "samples", "optional_latent")
        node = self._node(next((sampler.inputs[n] for n in names if n in sampler.inputs), None))
        return node if node and "Empty" in node.kind else None

    def _chosen(self, node: PictureNode) -> tuple[bool, object]:
        """Whether a node hands on one of several inputs, and what that is set or linked to."""
        inputs = node.inputs
        if node.kind.startswith("Any Switch"):
            return True, next((v for k, v in sorted(inputs.items()) if k.startswith("any_")), None)
        select = inputs.get("select")
        if isinstance(select, int) and f"input{select}" in inputs:
            return True, inputs[f"input{select}"]
        for which, off, on in _CHOICES:
            if which in inputs and (off in inputs or on in inputs):
                switch: object = inputs[which]
                if setter := self._node(switch):
                    switch = setter.inputs.get("value")
                if not isinstance(switch, bool):
                    raise NotSaid(f"a switch that does not say how it stands, {node}")
                return True, inputs.get(on if switch else off)
        return False, None

    def _node(self, value: object) -> PictureNode | None:
        """The node that a link leads to."""
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            return self._nodes.get(str(value[0]))
        return None

    def _links(self, node: PictureNode, aside: bool = True) -> Iterator[PictureNode]:
        for name, value in node.inputs.items():
            before = self._node(value)
            if before and (aside or not _ASIDE.fullmatch(name)):
                yield before


def _is_sampler(node: PictureNode) -> bool:
    names = node.inputs.keys()
    return ("guider" in names or "positive" in names) and bool(_SAMPLING & names)


def _has_prefix(node: PictureNode, stem: str) -> bool:
    """Whether a picture's name starts as a node that saves images would let it."""
    prefix = node.inputs.get("filename_prefix")
    literal = re.split(r"[/\\]", prefix)[-1].split("%")[0] if isinstance(prefix, str) else ""
    return bool(literal) and stem.startswith(literal)
